/** Server-sent events. Clients and proxies give up on a silent stream, and a long prompt is silent for
 *  minutes, so comments are sent in between. */
export const PING_MS = 5000

const HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  "x-accel-buffering": "no",
}

/** What is called when a client took part of a stream, by its response. */
const listeners = new WeakMap<Response, { call(): void }>()

/** A stream of what `chunks` yields, each a whole event or a comment. Nothing is made that the client has no room for. */
export function sseResponse(
  chunks: AsyncIterable<string>,
  headers: Record<string, string>,
): Response {
  const taken = { call() {} }
  async function* body(): AsyncGenerator<string> {
    let last = 0
    for await (const chunk of withPings(chunks)) {
      const now = performance.now()
      if (now - last > TAKEN_MS) {
        last = now
        taken.call()
      }
      yield chunk
    }
  }
  const response = new Response(body as never, { headers: { ...HEADERS, ...headers } })
  listeners.set(response, taken)
  return response
}

/** How often at most it is said that a client took something. */
const TAKEN_MS = 500

/** Calls `listen` now and then while the client takes what the stream says, pings too: the connection of one that
 *  takes nothing can be given a time. Returns whether it is a stream. */
export function onTaken(response: Response, listen: () => void): boolean {
  const taken = listeners.get(response)
  if (taken) taken.call = listen
  return taken !== undefined
}

export const dataEvent = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`

/** An event whose name is its type. */
export const namedEvent = (value: { type: string; [field: string]: unknown }): string =>
  `event: ${value.type}\n${dataEvent(value)}`

async function* withPings(chunks: AsyncIterable<string>): AsyncGenerator<string> {
  const iterator = chunks[Symbol.asyncIterator]()
  yield ": open\n\n" // headers go out at once
  try {
    let next = iterator.next()
    for (;;) {
      const first = await orPing(next)
      if (first === "ping") {
        yield ": ping\n\n"
        continue
      }
      if (first.done) return
      yield first.value
      next = iterator.next()
    }
  } finally {
    await iterator.return?.()
  }
}

async function orPing<T>(next: Promise<T>): Promise<T | "ping"> {
  let timer: Timer | undefined
  const ping = new Promise<"ping">((resolve) => {
    timer = setTimeout(() => resolve("ping"), PING_MS)
  })
  try {
    return await Promise.race([next, ping])
  } finally {
    clearTimeout(timer)
  }
}
