/** Clients in a thread of their own, so that they take no time of the server's. */
import { connect } from "node:net"
import type { Arrivals, Ask } from "./protocol.ts"
import { now } from "./protocol.ts"

declare const self: Worker

/** Moments at which the pieces of a streamed completion came. */
function streamed(url: URL, body: string): Promise<number[]> {
  const came: number[] = []
  const head = [
    `POST ${url.pathname} HTTP/1.1`,
    `Host: ${url.host}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
  ]
  return new Promise((resolve, reject) => {
    const socket = connect(Number(url.port), url.hostname, () =>
      socket.write(`${head.join("\r\n")}\r\n\r\n${body}`),
    )
    let rest = ""
    socket.on("data", (bytes) => {
      const at = now()
      const events = (rest + bytes.toString("latin1")).split("\n\n")
      rest = events.pop()!
      for (const event of events) if (hasText(event)) came.push(at)
    })
    socket.on("error", reject)
    socket.on("close", () => resolve(came))
  })
}

function hasText(event: string): boolean {
  const json = event.match(/^data: (\{.*)$/m)?.[1]
  return json !== undefined && JSON.parse(json).choices[0]?.text !== ""
}

self.onmessage = async ({ data }: MessageEvent<Ask>) => {
  const url = new URL(data.url)
  const came = await Promise.all(data.bodies.map((body) => streamed(url, JSON.stringify(body))))
  self.postMessage({ came } satisfies Arrivals)
}
