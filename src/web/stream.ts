/** An answer of the server as it comes. */

export interface Delta {
  reasoning?: string
  content?: string
  /** With the last one. */
  end?: End
}

export interface End {
  /** Of the prompt, and how many of them were there already. */
  prompt: number
  cached: number
  /** Of the answer, reasoning included. */
  tokens: number
  tokensPerSecond: number
  reason: string
}

interface Chunk {
  error?: { message: string }
  choices: {
    delta: { content?: string; reasoning_content?: string }
    finish_reason: string | null
  }[]
  usage?: { prompt_tokens: number; completion_tokens: number }
  timings?: { predicted_per_second: number; cache_n: number }
}

/** @throws Error with the server's message */
export async function* ask(
  body: object,
  headers: Record<string, string>,
  signal: AbortSignal,
): AsyncGenerator<Delta> {
  const request = { ...body, stream: true, stream_options: { include_usage: true } }
  const response = await fetch("/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(request),
    signal,
  })
  if (!response.ok) {
    const { error } = (await response.json()) as { error: { message: string } }
    throw new Error(error.message)
  }
  const end: End = { prompt: 0, cached: 0, tokens: 0, tokensPerSecond: 0, reason: "" }
  for await (const data of dataOf(response.body!)) {
    if (data === "[DONE]") break
    const chunk = JSON.parse(data) as Chunk
    if (chunk.error) throw new Error(chunk.error.message)
    if (chunk.timings) {
      end.tokensPerSecond = chunk.timings.predicted_per_second
      end.cached = chunk.timings.cache_n
    }
    if (chunk.usage) {
      end.prompt = chunk.usage.prompt_tokens
      end.tokens = chunk.usage.completion_tokens
    }
    const [choice] = chunk.choices
    if (choice?.finish_reason) end.reason = choice.finish_reason
    const { content = "", reasoning_content: reasoning = "" } = choice?.delta ?? {}
    if (content !== "" || reasoning !== "") yield { content, reasoning }
  }
  yield { end }
}

/** The data of server-sent events. */
async function* dataOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as never).getReader()
  let rest = ""
  for (;;) {
    const { done, value } = (await reader.read()) as { done: boolean; value?: string }
    if (done) return
    const events = (rest + value).split("\n\n")
    rest = events.pop()!
    for (const event of events) if (event.startsWith("data: ")) yield event.slice("data: ".length)
  }
}
