/** The HTTP server: routes, guards, and one place where errors become answers. */
import { readBody, MAX_BODY_BYTES, type Body } from "./body.ts"
import { chatCompletions } from "./chat.ts"
import { completions } from "./completions.ts"
import { anthropicError, asHttpError, errorBody, HttpError } from "./errors.ts"
import { IGNORED } from "./fields.ts"
import type { Service } from "./generate.ts"
import { type Access, checkAccess } from "./guard.ts"
import { countTokens, messages } from "./messages.ts"
import { openApi } from "./openapi.ts"
import { page } from "./page.ts"
import { responses } from "./responses.ts"
import { onTaken } from "./sse.ts"
import { applyTemplate, detokenize, tokenize } from "./tokens.ts"

type Post = (service: Service, body: Body, signal: AbortSignal) => Promise<Response>
type Get = (service: Service) => Response

export const POSTS = new Map<string, Post>([
  ["/v1/chat/completions", chatCompletions],
  ["/v1/completions", completions],
  ["/v1/responses", responses],
  ["/v1/messages", messages],
  ["/v1/messages/count_tokens", countTokens],
  ["/tokenize", tokenize],
  ["/detokenize", detokenize],
  ["/apply-template", applyTemplate],
])

const GETS = new Map<string, Get>([
  ["/v1/models", models],
  ["/metrics", metrics],
])

/** Those that answer before there is a model. */
const EARLY = new Map<string, (service: Service | null) => Response | Promise<Response>>([
  ["/health", health],
  ["/openapi.json", () => Response.json(openApi())],
  ["/", page],
])

const PATIENCE_S = 30
/** Timeouts of connections are looked at every 4 s: a shorter one could end between two renewals. */
const LEAST_S = 8
/** Seconds that a whole answer may take on its way; the most that there is. */
const SEND_S = 255

/** Names of unknown fields that are remembered as said. */
const MOST_SAID = 1000

export interface ServerOptions extends Access {
  port: number
  /** Whether a field that nobody knows is a 400. */
  strictFields: boolean
  /** Seconds that a client may take to send its body, or in which it takes nothing of a stream; 30 by default. */
  patienceS?: number
  /** Told of failures that nobody foresaw, and of fields that nobody knows. */
  log(line: string): void
}

/** A running server. */
export interface HttpServer {
  url: string
  /** Ends open streams within a second, then all connections. */
  stop(): Promise<void>
}

/** Listens at once; requests are answered with 503 until the service is there.
 *  @throws what Bun.serve throws when the address cannot be had */
export function startServer(options: ServerOptions, ready: Promise<Service>): HttpServer {
  let service: Service | null = null
  ready.then(
    (s) => (service = s),
    () => {}, // the caller awaits it as well
  )
  const closing = new AbortController()
  const said = new Set<string>()
  const server = Bun.serve({
    hostname: options.host,
    port: options.port,
    maxRequestBodySize: MAX_BODY_BYTES,
    async fetch(request, self) {
      self.timeout(request, 0) // an answer may be long in coming
      try {
        checkAccess(request, options)
        const signal = AbortSignal.any([request.signal, closing.signal])
        const response = await route(request, service, options, signal)
        sayIgnored(response, options, said)
        const stall = Math.max(options.patienceS ?? PATIENCE_S, LEAST_S)
        const renew = () => self.timeout(request, stall)
        if (!onTaken(response, renew)) self.timeout(request, SEND_S)
        return response
      } catch (error) {
        return failure(error, options, new URL(request.url).pathname, service)
      }
    },
    error: (error) => failure(error, options, "", service),
  })
  return {
    url: String(server.url),
    async stop() {
      closing.abort()
      await Promise.race([server.stop(), Bun.sleep(1000)])
      await server.stop(true)
    },
  }
}

function failure(
  error: unknown,
  { log }: ServerOptions,
  path: string,
  service: Service | null,
): Response {
  const known = asHttpError(error)
  service?.metrics.refused(known)
  if (known.status >= 500) log(error instanceof Error ? (error.stack ?? error.message) : `${error}`)
  const body = path.startsWith("/v1/messages") ? anthropicError(known) : errorBody(known)
  return Response.json(body, { status: known.status, headers: known.headers })
}

/** Names each field that nobody knows once in the log. */
function sayIgnored({ headers }: Response, { log }: ServerOptions, said: Set<string>): void {
  for (const name of headers.get(IGNORED)?.split(", ") ?? []) {
    if (said.has(name) || said.size >= MOST_SAID) continue
    said.add(name)
    log(`ignored a field that is not known here: ${name}`)
  }
}

async function route(
  request: Request,
  service: Service | null,
  { strictFields, patienceS = PATIENCE_S }: ServerOptions,
  signal: AbortSignal,
): Promise<Response> {
  const { pathname } = new URL(request.url)
  // Codex tries a WebSocket first and takes this for a no at once.
  if (pathname === "/v1/responses" && request.headers.has("upgrade"))
    throw new HttpError(426, "There are no WebSockets here; POST instead")
  const isGet = request.method === "GET" || request.method === "HEAD"
  const early = EARLY.get(pathname)
  if (early && isGet) return early(service)
  const one = pathname.match(/^\/v1\/models\/(.+)$/)?.[1]
  const get = one === undefined ? GETS.get(pathname) : (s: Service) => oneModel(s, one)
  const post = POSTS.get(pathname)
  if (!get && !post && !early)
    throw new HttpError(404, `There is no ${pathname} here`, { code: "not_found" })
  if (post ? request.method !== "POST" : !isGet) {
    const allow = post ? "POST" : "GET, HEAD"
    throw new HttpError(405, `${pathname} takes ${allow}`, { headers: { allow } })
  }
  if (!service)
    throw new HttpError(503, "The model is being loaded", {
      code: "loading",
      headers: { "retry-after": "5" },
    })
  if (get) return get(service)
  return post!(service, await readBody(request, strictFields, patienceS), signal)
}

function health(service: Service | null): Response {
  if (!service) return Response.json({ status: "loading" }, { status: 503 })
  return Response.json({ status: service.metrics.running > 0 ? "busy" : "ok" })
}

const modelEntry = ({ model, client }: Service) => ({
  id: model,
  object: "model",
  created: 0,
  owned_by: "ds4",
  context_length: client.info.context,
})

function models(service: Service): Response {
  return Response.json({ object: "list", data: [modelEntry(service)] })
}

function oneModel(service: Service, id: string): Response {
  if (id === service.model) return Response.json(modelEntry(service))
  throw new HttpError(404, `There is no model ${id} here, only ${service.model}`, {
    code: "model_not_found",
  })
}

function metrics(service: Service): Response {
  return new Response(service.metrics.text(service.model, service.client), {
    headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
  })
}
