/** Stands between a client and the server, watches, and makes a tiny model fit to hand tools to.
 *
 *  The tiny model calls tools of its own accord and with any arguments. So one tool of the client may be
 *  called, with one harmless set of arguments that its schema is narrowed to, and only when it is asked
 *  for: then `tool_choice` forces it. An answer with any other call is never handed on: where none was
 *  wanted the server is asked again, and after some tries the request fails. That is why answers are
 *  held until they are whole. An answer without a visible text, or with control tokens in it, is not
 *  handed on either: clients do not send such a one back as the model wrote it, which is no matter of the
 *  cache. Everything else goes through byte for byte: a body that JSON could not print back as it came
 *  is refused, so that nothing but the fields named here can differ. */
import { isDeepStrictEqual } from "node:util"
import { type Answer, type Api, APIS, type Call, hasTool, narrowTool, readStream } from "./wire.ts"

/** Answers that may be thrown away before a request fails. */
const MOST_TRIES = 8

/** One request that generated something. */
export interface Exchange {
  path: string
  status: number
  /** Whether the request had the tools of the agent; titles and the like have none. */
  isMain: boolean
  isForced: boolean
  /** Whether the client sent the secret of the file: then its tool has read it. */
  hasSecret: boolean
  /** What the client got. */
  answer: Answer
  /** The body of a failure. */
  failure: string
}

export interface ProxyOptions {
  upstream: string
  /** The one call that may be made. */
  call: Call & { args: Record<string, string> }
  secret: string
}

export interface Proxy {
  url: string
  exchanges: Exchange[]
  /** Requests that were no generation, as "METHOD path: status". */
  others: string[]
  /** Why the proxy refused requests. */
  failures: string[]
  /** The next request with tools must be answered by the call. */
  forceNext(): void
  stop(): Promise<void>
}

export function startProxy(options: ProxyOptions): Proxy {
  const exchanges: Exchange[] = []
  const others: string[] = []
  const failures: string[] = []
  let mustCall = false
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    async fetch(request) {
      const { pathname } = new URL(request.url)
      const api = request.method === "POST" ? APIS.get(pathname) : undefined
      if (!api) {
        const response = await send(options, request, await request.arrayBuffer())
        others.push(`${request.method} ${pathname}: ${response.status}`)
        return response
      }
      const text = await request.text()
      const { body, isMain } = edited(text, api, options, mustCall)
      const isForced = isMain && mustCall
      if (isForced) mustCall = false
      const kind = { isMain, isForced }
      const { response, answer, failure } = await answered(options, request, body, api, kind)
      const { status } = response
      const hasSecret = text.includes(options.secret)
      exchanges.push({ path: pathname, status, isMain, isForced, hasSecret, answer, failure })
      return response
    },
    error(error) {
      failures.push(error.message)
      return Response.json({ error: { message: "refused by the proxy" } }, BAD)
    },
  })
  return {
    url: `http://127.0.0.1:${server.port}`,
    exchanges,
    others,
    failures,
    forceNext: () => void (mustCall = true),
    stop: () => server.stop(true),
  }
}

/** A status that no client tries again after. */
const BAD = { status: 400 }

/** The body as it goes to the server: the tool narrowed, and forced if it must be called. */
function edited(text: string, api: Api, { call }: ProxyOptions, mustCall: boolean) {
  const fields = JSON.parse(text) as Record<string, unknown>
  if (JSON.stringify(fields) !== text) throw new Error("the body does not survive being read")
  const isMain = hasTool(fields, call.name)
  if (!isMain) return { body: text, isMain }
  narrowTool(fields, call)
  if (mustCall) fields["tool_choice"] = api.force(call.name)
  return { body: JSON.stringify(fields), isMain }
}

function send({ upstream }: ProxyOptions, request: Request, body: ArrayBuffer | string) {
  const { pathname, search } = new URL(request.url)
  const headers = new Headers(request.headers)
  for (const name of ["host", "content-length", "connection", "accept-encoding"])
    headers.delete(name)
  const { method, signal } = request
  const hasBody = method !== "GET" && method !== "HEAD"
  return fetch(upstream + pathname + search, {
    method,
    headers,
    signal,
    ...(hasBody && { body }),
  })
}

/** Asks until the answer may be handed on. Usage is the first answer's: a repetition is cached. */
async function answered(
  options: ProxyOptions,
  request: Request,
  body: string,
  api: Api,
  { isMain, isForced }: { isMain: boolean; isForced: boolean },
): Promise<{ response: Response; answer: Answer; failure: string }> {
  let usage: Pick<Answer, "promptTokens" | "cachedTokens"> | undefined
  let stream = ""
  const most = isForced ? 1 : MOST_TRIES // what is forced must be right at once
  for (let tries = 0; tries < most; tries++) {
    const response = await send(options, request, body)
    stream = await response.text()
    const answer = readStream(api, response.ok ? stream : "")
    const { promptTokens, cachedTokens } = answer
    usage ??= { promptTokens, cachedTokens }
    Object.assign(answer, usage)
    const { status, headers } = response
    const failure = response.ok ? "" : stream
    if (!response.ok || (isForced ? isCall(answer, options.call) : isPlain(answer, isMain)))
      return { response: new Response(stream, { status, headers }), answer, failure }
  }
  throw new Error(`no answer can be handed on; the last ends in ${stream.slice(-500)}`)
}

const isCall = ({ calls }: Answer, { name, args }: Call): boolean =>
  isDeepStrictEqual(calls, [{ name, args }])

/** Titles and the like may be empty. */
const isPlain = ({ calls, text }: Answer, isMain: boolean): boolean =>
  calls.length === 0 && (!isMain || text.trim() !== "") && !text.includes("<｜")

/** A proxy for HTTP that lets nothing out and remembers who was asked for. */
export function startWall(): { url: string; asked: Set<string>; stop(): void } {
  const asked = new Set<string>()
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(socket, bytes) {
        const [, target] = bytes.toString().split(" ", 2)
        asked.add(target ?? "?")
        socket.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
      },
    },
  })
  return { url: `http://127.0.0.1:${listener.port}`, asked, stop: () => listener.stop(true) }
}
