/** What the proxy must know of the three APIs: how a call is forced, and what a streamed answer holds. */

/** A call of a tool, with its arguments read. */
export interface Call {
  name: string
  args: unknown
}

/** What an answer says of itself. */
export interface Answer {
  text: string
  calls: Call[]
  promptTokens: number
  cachedTokens: number
}

type Fields = Record<string, any>

export interface Api {
  /** The value of tool_choice that forces a call of `name`. */
  force(name: string): Fields
  /** Takes in one event of a stream. */
  read(event: Fields, draft: Draft): void
}

/** An answer that is still being read; arguments of calls are texts, by index. */
interface Draft extends Answer {
  open: Map<number, { name: string; text: string }>
}

const chat: Api = {
  force: (name) => ({ type: "function", function: { name } }),
  read(event, draft) {
    const delta = event["choices"]?.[0]?.delta ?? {}
    draft.text += delta.content ?? ""
    for (const { index, function: f } of delta.tool_calls ?? []) {
      const call = draft.open.get(index) ?? { name: "", text: "" }
      draft.open.set(index, {
        name: call.name + (f.name ?? ""),
        text: call.text + (f.arguments ?? ""),
      })
    }
    const { usage } = event
    if (!usage) return
    draft.promptTokens = usage.prompt_tokens
    draft.cachedTokens = usage.prompt_tokens_details.cached_tokens
  },
}

const responses: Api = {
  force: (name) => ({ type: "function", name }),
  read(event, draft) {
    const { type, item, response, output_index } = event
    if (type === "response.output_text.delta") draft.text += event["delta"]
    if (type === "response.output_item.done" && item.type === "function_call")
      draft.open.set(output_index, { name: item.name, text: item.arguments })
    const usage = response?.usage
    if (!usage) return
    draft.promptTokens = usage.input_tokens
    draft.cachedTokens = usage.input_tokens_details.cached_tokens
  },
}

const messages: Api = {
  force: (name) => ({ type: "tool", name }),
  read({ type, index, content_block: block, delta, usage }, draft) {
    if (type === "content_block_start" && block.type === "tool_use")
      draft.open.set(index, { name: block.name, text: "" })
    if (delta?.type === "text_delta") draft.text += delta.text
    if (delta?.type === "input_json_delta") draft.open.get(index)!.text += delta.partial_json
    if (type !== "message_delta") return
    draft.cachedTokens = usage.cache_read_input_tokens
    draft.promptTokens = usage.input_tokens + draft.cachedTokens
  },
}

/** By path; requests elsewhere generate nothing. */
export const APIS = new Map<string, Api>([
  ["/v1/chat/completions", chat],
  ["/v1/responses", responses],
  ["/v1/messages", messages],
])

/** Reads a whole event stream. */
export function readStream(api: Api, stream: string): Answer {
  const draft: Draft = { text: "", calls: [], promptTokens: 0, cachedTokens: 0, open: new Map() }
  for (const line of stream.split("\n")) {
    if (!line.startsWith("data: {")) continue
    api.read(JSON.parse(line.slice("data: ".length)) as Fields, draft)
  }
  const { open, ...answer } = draft
  answer.calls = [...open.values()].map(({ name, text }) => ({ name, args: parsed(text) }))
  return answer
}

/** Arguments that are cut off or no JSON stay a text, which equals nothing that is allowed. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text || "{}")
  } catch {
    return text
  }
}

/** A tool in the list of a request; chat has its fields one level deeper. */
const fieldsOf = (tool: Fields): Fields => tool["function"] ?? tool

export const hasTool = (body: Fields, name: string): boolean =>
  ((body["tools"] ?? []) as Fields[]).some((tool) => fieldsOf(tool)["name"] === name)

/** Lets a tool of the request be called with these arguments only. */
export function narrowTool(body: Fields, { name, args }: { name: string; args: Fields }): void {
  const tool = (body["tools"] as Fields[]).map(fieldsOf).find((fields) => fields["name"] === name)!
  const properties = Object.entries(args).map(([key, value]) => [
    key,
    { type: "string", enum: [value] },
  ])
  tool["input_schema" in tool ? "input_schema" : "parameters"] = {
    type: "object",
    properties: Object.fromEntries(properties),
    required: Object.keys(args),
    additionalProperties: false,
  }
}
