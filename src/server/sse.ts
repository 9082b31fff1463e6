/** Server-sent events. Clients and proxies give up on a silent stream, and a long prompt is silent for
 *  minutes, so comments are sent in between. */
export const PING_MS = 5000

const HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  "x-accel-buffering": "no",
}

/** A stream of what `chunks` yields, each a whole event or a comment. */
export function sseResponse(
  chunks: AsyncIterable<string>,
  headers: Record<string, string>,
): Response {
  async function* body(): AsyncGenerator<string> {
    yield* withPings(chunks)
  }
  return new Response(body as never, { headers: { ...HEADERS, ...headers } })
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
