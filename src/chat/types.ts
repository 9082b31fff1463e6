/** The shapes that conversations, prompts and model output have on their way through this folder. */

import { TemplateError } from "../errors.ts"

/** Why a conversation cannot be rendered. */
export type RenderErrorCode =
  | "bad_json"
  | "bad_request"
  | "content_not_text"
  | "developer_without_content"
  | "unknown_task"
  | "unknown_role"
  | "unknown_effort"
  | "unknown_mode"
  | "call_without_function"
  | "call_without_arguments"
  | "tool_without_function"
  | "unknown_control_token"

/** A `TemplateError` with a name for what is wrong, and where: `messages[3]`. */
export class RenderError extends TemplateError {
  readonly code: RenderErrorCode
  /** The place in the request, as a path: `messages[3].tool_calls[0]`. */
  readonly path: string | undefined
  constructor(code: RenderErrorCode, message: string, path?: string, options?: ErrorOptions) {
    super(path === undefined ? message : `${message} (${path})`, options)
    this.code = code
    this.path = path
  }
}

/** A part of a message's content. Only `text` parts have text; others are named as unsupported. */
export interface ContentPart {
  type: string
  text?: string | null
  [key: string]: unknown
}

/** A tool call of an assistant message, in OpenAI's shape. */
export interface ToolCall {
  id?: string
  type?: string
  function: {
    name: string
    /** JSON text, which keeps order and digits; an object is taken as it is. */
    arguments?: unknown
    id?: string
  }
}

/** A tool as OpenAI has it; `function` is shown to the model whole and in its own order. */
export interface Tool {
  type?: string
  function: unknown
}

export type Role = "system" | "developer" | "user" | "assistant" | "tool" | "latest_reminder"

/** A message in OpenAI's shape with the additions of DeepSeek's protocol. Values that the model
 *  sees as JSON (`tools`, `response_format`, arguments) may be plain values, or the trees that
 *  `parseJson` makes of JSON text, which keep the order of keys and the digits of numbers. */
export interface Message {
  role: Role | (string & {})
  content?: string | null | readonly ContentPart[]
  reasoning_content?: string | null
  tool_calls?: readonly ToolCall[] | null
  tool_call_id?: string | null
  /** A quick task: `action query authority domain read_url` on a user message, `title` on an
   *  assistant message. */
  task?: string | null
  /** Continue this message: no end token after it. */
  wo_eos?: boolean | null
  tools?: readonly Tool[] | null
  response_format?: unknown
  [key: string]: unknown
}

/** A request to be rendered. */
export interface Conversation {
  messages: readonly Message[]
  /** The tools of the request as a whole: an array, or its JSON text. */
  tools?: readonly Tool[] | string | null
  /** These three override the defaults of `RenderOptions`. */
  thinking?: boolean
  effort?: string
  dropThinking?: boolean
}

/** A piece of a rendered prompt. Only what is marked as control ever becomes a control token, and what the
 *  model itself said stays the tokens it said it with. */
export type Span = string | { readonly control: string } | Exact

/** Text as the model once wrote it, token by token. */
export interface Exact {
  readonly ids: readonly number[]
  readonly text: string
}

/** What the model is saying, as it says it. Texts and arguments come in pieces to be joined.
 *
 *  A call is `call_start`, its arguments as JSON text, then `call_end`; or `call_cut` if it breaks
 *  off, then its arguments are incomplete and the call must not be executed. */
export type ChatEvent =
  | { type: "thinking"; text: string }
  | { type: "text"; text: string }
  | { type: "call_start"; index: number; name: string }
  | { type: "call_arguments"; index: number; text: string }
  | { type: "call_end"; index: number }
  | { type: "call_cut"; index: number }
  | ChatDone

/** The last event. */
export interface ChatDone {
  type: "done"
  /** `cut`: the output ended before the model ended it. */
  finish: "stop" | "tool_calls" | "cut"
  /** Set if the output does not follow the protocol to the letter; the first thing found. */
  error?: ParseErrorCode
  /** After a cut: text of the call that broke off, which came out in no text event. */
  rest?: string
}

/** How an output departs from the protocol. */
export type ParseErrorCode =
  | "missing_think_end"
  | "missing_end"
  | "control_token_in_text"
  | "other_spelling"
  | "bad_separator"
  | "bad_invoke"
  | "bad_parameter"
  | "duplicate_parameter"
  | "unclosed_block"
  | "text_after_calls"
  | "text_after_end"
