/** What a request wants its answer held to: a response format, a choice of tools. */
import * as v from "valibot"
import { type Conversation, type Json, printJson, toJson } from "../chat/index.ts"
import { SchemaError } from "../errors.ts"
import { callTools, type Constraint, grammarOf } from "../grammar/index.ts"
import type { Tokenizer } from "../tokenizer/index.ts"
import { badRequest } from "./errors.ts"
import { objectOf } from "./fields.ts"

/** Which tools are called: as the model likes, none, at least one of any, or one by name. */
export type ToolChoice = { type: "auto" | "none" | "required" } | { type: "tool"; name: string }

const schemaField = v.union([objectOf({}), v.boolean()])
const formatName = v.optional(v.pipe(v.string(), v.maxLength(256)))

/** `response_format` of chat. */
export const responseFormat = v.optional(
  v.variant("type", [
    v.looseObject({ type: v.literal("text") }),
    v.looseObject({ type: v.literal("json_object") }),
    v.looseObject({
      type: v.literal("json_schema"),
      json_schema: objectOf({ name: formatName, schema: schemaField }),
    }),
  ]),
)

/** `text.format` of responses. */
export const textFormat = v.optional(
  v.variant("type", [
    v.looseObject({ type: v.literal("text") }),
    v.looseObject({ type: v.literal("json_object") }),
    v.looseObject({ type: v.literal("json_schema"), name: formatName, schema: schemaField }),
  ]),
)

export interface Wishes {
  choice: ToolChoice
  /** Whether one answer may have several calls. */
  parallel: boolean
  /** Schema of the answer as it stands in the body; null: any object; undefined: free text. */
  schema: Json | undefined
  /** Name of the field that the schema comes from. */
  schemaField: string
}

/** The schema of a format: `holder` has it, as it stands in the body. */
export function schemaAsked(type: string | undefined, holder: Json | undefined): Json | undefined {
  if (type === "json_object") return null
  return type === "json_schema" && holder instanceof Map ? holder.get("schema") : undefined
}

/** Applies the wishes to a conversation, which is shown the schema and only tools that may be called.
 *  Returns what the answer is held to.
 *  @throws HttpError 400 naming the tool or the keyword that cannot be held to */
export function constrain(
  conversation: Conversation,
  { choice, parallel, schema, schemaField: field }: Wishes,
  tokenizer: Tokenizer,
): Constraint | undefined {
  if (choice.type === "none") delete conversation.tools
  if (schema !== undefined) showSchema(conversation, schema ?? new Map([["type", "object"]]))
  const tools = toJson(conversation.tools ?? []) as Json[]
  if (tools.length === 0 && (choice.type === "required" || choice.type === "tool"))
    throw badRequest("tool_choice asks for a call, but there are no tools", "tool_choice")
  if (choice.type === "required" || choice.type === "tool") {
    const some = choice.type === "tool" ? tools.filter((t) => nameOf(t) === choice.name) : tools
    if (some.length === 0)
      throw badRequest(
        `tool_choice names ${(choice as { name: string }).name}, which is no tool`,
        "tool_choice",
      )
    const isOne = choice.type === "tool" || !parallel
    return checked(
      { kind: "calls", tools: printJson(some), forced: true, parallel: !isOne },
      tokenizer,
      "tools",
    )
  }
  const calls = { tools: printJson(tools), parallel }
  if (schema !== undefined) {
    const text = schema === null ? {} : { schema: printJson(schema) }
    const orCalls = tools.length > 0 ? { orCalls: calls } : {}
    return checked({ kind: "json", ...text, ...orCalls }, tokenizer, field)
  }
  const isFree = tools.length === 0 && choice.type !== "none"
  if (isFree || !hasDsml(tokenizer)) return undefined
  const free: Constraint = { kind: "calls", ...calls, forced: false }
  // Tools that are not strict can always be held to somehow: the engine's Worker makes that grammar.
  return toolsOf(tools).some((tool) => tool.strict) ? checked(free, tokenizer, "tools") : free
}

/** @throws HttpError 400 for what is no tool */
const toolsOf = (tools: readonly Json[]) => asRequest(() => callTools(tools), "tools")

const nameOf = (tool: Json) => {
  const fn = tool instanceof Map ? tool.get("function") : undefined
  return fn instanceof Map ? fn.get("name") : undefined
}

/** The schema stands where the protocol has it: with the first system message. */
function showSchema(conversation: Conversation, schema: Json): void {
  const [first, ...rest] = conversation.messages
  conversation.messages =
    first?.role === "system"
      ? [{ ...first, response_format: schema }, ...rest]
      : [{ role: "system", content: "", response_format: schema }, ...conversation.messages]
}

const hasDsml = (tokenizer: Tokenizer) => {
  const id = tokenizer.id("｜DSML｜")
  return id !== undefined && tokenizer.isControl(id)
}

const MOST_CHECKED = 64
/** Constraints that are known to be fine, the last ones. */
const fine = new Set<string>()

function checked(constraint: Constraint, tokenizer: Tokenizer, field: string): Constraint {
  const key = JSON.stringify(constraint)
  if (fine.has(key)) return constraint
  asRequest(() => grammarOf(constraint, hasDsml(tokenizer)), field)
  fine.add(key)
  if (fine.size > MOST_CHECKED) fine.delete(fine.values().next().value!)
  return constraint
}

/** @throws HttpError 400 in place of a SchemaError */
function asRequest<T>(make: () => T, field: string): T {
  try {
    return make()
  } catch (error) {
    if (error instanceof SchemaError)
      throw badRequest(`${field}: ${error.message}`, field, "invalid_schema")
    throw error
  }
}
