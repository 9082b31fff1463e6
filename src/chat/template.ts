/** Conversation to prompt: DeepSeek's chat protocol, character for character (spec §16). The result
 *  is a list of spans, so that only what this file puts in as a control token ever becomes one;
 *  nothing that a user, a tool or a file wrote can. */

import { printJson, toJson, tryParseJson } from "./json.ts"
import type { Json } from "./json.ts"
import {
  ASSISTANT,
  BOS,
  EFFORTS,
  END_THINK,
  EOS,
  FORMAT_BEFORE,
  REMINDER,
  TASKS,
  THINK,
  TOOLS_AFTER,
  TOOLS_BEFORE,
  USER,
} from "./prompts.ts"
import type { Encoder } from "./prompts.ts"
import { SpanList } from "./spans.ts"
import {
  callList,
  contentText,
  hasItems,
  isEmpty,
  makeTurns,
  toolFunctions,
  toolList,
} from "./turns.ts"
import type { Call, Turn } from "./turns.ts"
import { RenderError } from "./types.ts"
import type { Conversation, Exact, Span } from "./types.ts"

export interface RenderOptions {
  /** Think before answering. Default true. */
  thinking?: boolean
  /** How hard: `high` or `max`, with `v4-0731` also `low`. Counts in thinking mode only. */
  effort?: string | null
  /** Leave out the reasoning of earlier turns. Default true; tools keep it in any case. */
  dropThinking?: boolean
  /** Begin with the BOS token. Default true. */
  addBos?: boolean
  /** Version of the protocol. Default `v4`. */
  encoder?: Encoder
  /** Open the assistant's turn also after a last message from the system or a reminder. The protocol
   *  itself does not, but clients of a server send such requests. Default false. */
  openAssistant?: boolean
  /** Call arguments that are `""`, null or missing mean none, as clients of a server send them.
   *  Default false: an empty text is an argument, and missing ones are an error. */
  emptyArguments?: boolean
  /** What the model said when it made these calls, so that what was computed then still holds; undefined
   *  where it is not known. Its ids may be of control tokens: never a client's text. */
  replay?: (calls: readonly Call[]) => Replay | undefined
}

/** What the model said around its calls, and how: the ids are used where the words are the same. */
export interface Replay {
  reasoning: Exact
  /** The text before the calls, as the client knows it. */
  content: string
  /** That text and the calls. */
  answer: Exact
}

/** Renders a conversation. Settings of the conversation itself win over `options`.
 *  @throws RenderError with a code if the protocol cannot express it. */
export function render(conversation: Conversation, options: RenderOptions = {}): Span[] {
  return new Renderer(conversation, options).run()
}

class Renderer {
  readonly #out = new SpanList()
  readonly #options: RenderOptions
  readonly #thinking: boolean
  readonly #prefix: string
  readonly #drop: boolean
  #turns: Turn[]
  /** The last user or developer turn, or -1. */
  #last: number

  constructor(conversation: Conversation, options: RenderOptions) {
    this.#options = options
    this.#thinking = conversation.thinking ?? options.thinking ?? true
    this.#prefix = effortPrefix(
      conversation.effort ?? options.effort ?? undefined,
      options.encoder ?? "v4",
    )
    const turns = makeTurns(conversation)
    const shown = turns.some(({ blocks, message }) => !blocks && hasTools(message.tools))
    this.#drop = (conversation.dropThinking ?? options.dropThinking ?? true) && !shown
    this.#turns = turns
    this.#last = lastInput(turns)
    if (this.#thinking && this.#drop) {
      this.#turns = turns.filter((turn, i) => i >= this.#last || STAYS.has(turn.role))
      this.#last = lastInput(this.#turns)
    }
  }

  run(): Span[] {
    if (this.#options.addBos ?? true) this.#out.control(BOS)
    this.#turns.forEach((turn, i) => {
      if (i === 0 && this.#thinking) this.#out.text(this.#prefix)
      this.#message(turn, i)
      const next = this.#turns[i + 1]?.role
      if (next === undefined || next === "assistant" || next === "latest_reminder") {
        this.#opening(turn, i)
      }
    })
    return this.#out.spans
  }

  /** A turn without what it makes the model do next. */
  #message(turn: Turn, i: number): void {
    const out = this.#out
    const { message, path } = turn
    switch (turn.role) {
      case "system":
        out.text(contentText(message.content, path, true))
        return this.#attachments(turn)
      case "developer":
        out.control(USER)
        out.text(developerText(turn))
        return this.#attachments(turn)
      case "user":
        out.control(USER)
        return out.text(userText(turn))
      case "latest_reminder":
        out.control(REMINDER)
        return out.text(contentText(message.content, path, true))
      case "assistant":
        return this.#assistant(turn, i)
      default:
        throw new RenderError(
          "unknown_role",
          `Cannot render role ${JSON.stringify(turn.role)}: expected system, developer, user, ` +
            "assistant, tool or latest_reminder",
          path,
        )
    }
  }

  #assistant({ message, path }: Turn, i: number): void {
    const out = this.#out
    const calls = callList(message, path)
    const said = calls.length > 0 ? this.#options.replay?.(calls) : undefined
    const afterTask = this.#turns[i - 1]?.task !== undefined
    if (this.#thinking && !afterTask && (!this.#drop || i > this.#last)) {
      const reasoning = contentText(message.reasoning_content, path, true)
      if (said?.reasoning.text === reasoning) out.exact(said.reasoning)
      else out.text(reasoning)
      out.control(END_THINK)
    }
    const content = contentText(message.content, path, true)
    if (said?.content === content) out.exact(said.answer)
    else {
      out.text(content)
      if (calls.length > 0) this.#calls(calls)
    }
    if (!message.wo_eos) out.control(EOS)
  }

  /** What asks for the next message: the token of a quick task, or the assistant's turn. */
  #opening(turn: Turn, i: number): void {
    const { role, task } = turn
    const out = this.#out
    const isLast = i === this.#turns.length - 1
    if (task !== undefined && task !== "action") {
      out.control(taskToken(turn))
    } else if (task === "action") {
      this.#open(this.#thinking)
      out.control(taskToken(turn))
    } else if (role === "user" || role === "developer") {
      this.#open(this.#thinking && (!this.#drop || i >= this.#last))
    } else if (isLast && role !== "assistant" && this.#options.openAssistant) {
      this.#open(this.#thinking)
    }
  }

  #open(think: boolean): void {
    this.#out.control(ASSISTANT)
    this.#out.control(think ? THINK : END_THINK)
  }

  /** Tools and response format of a system or developer message. */
  #attachments({ message, path }: Turn): void {
    const out = this.#out
    const tools = toolList(message.tools, path)
    if (tools.length > 0) {
      out.markup(`\n\n${TOOLS_BEFORE}`)
      out.text(toolFunctions(tools, path).map(printJson).join("\n"))
      out.markup(TOOLS_AFTER)
    }
    const format = toJson(message.response_format)
    if (!isEmpty(format)) out.text(`\n\n${FORMAT_BEFORE}${printJson(format)}`)
  }

  /** A block of calls. Names and string values stand as they are, nothing is escaped. */
  #calls(calls: Call[]): void {
    const out = this.#out
    out.markup("\n\n<｜DSML｜tool_calls>\n")
    for (const call of calls) {
      out.markup("<｜DSML｜invoke")
      out.text(` name="${call.name}">\n`)
      const given = callArguments(call, this.#options.emptyArguments ?? false)
      let first = true
      for (const [key, value] of given) {
        if (!first) out.text("\n")
        first = false
        const isText = typeof value === "string"
        out.markup("<｜DSML｜parameter")
        out.text(` name="${key}" string="${isText}">${isText ? value : printJson(value)}`)
        out.markup("</｜DSML｜parameter>")
      }
      out.markup("\n</｜DSML｜invoke>\n")
    }
    out.markup("</｜DSML｜tool_calls>")
  }
}

/** Roles that stay when old reasoning is dropped. Developer messages go with it. */
const STAYS: ReadonlySet<string> = new Set(["system", "user", "assistant", "latest_reminder"])

const lastInput = (turns: Turn[]): number =>
  turns.findLastIndex(({ role }) => role === "user" || role === "developer")

const hasTools = (tools: unknown): boolean =>
  typeof tools === "string" ? hasItems(toolList(tools, "tools")) : hasItems(tools)

function effortPrefix(effort: string | undefined, encoder: Encoder): string {
  if (effort === undefined) return ""
  const known = EFFORTS[encoder]
  const prefix = known.get(effort)
  if (prefix !== undefined) return prefix
  throw new RenderError(
    "unknown_effort",
    `Cannot use effort ${JSON.stringify(effort)}: expected ${[...known.keys()].join(" or ")}`,
  )
}

function developerText({ message, path }: Turn): string {
  const text = contentText(message.content, path, true)
  if (text !== "") return text
  throw new RenderError(
    "developer_without_content",
    "Cannot render a developer message without content",
    path,
  )
}

function userText({ blocks }: Turn): string {
  return blocks!
    .map(({ id, content, path }) =>
      id === undefined
        ? contentText(content, path, false)
        : `<tool_result>${contentText(content, path, true)}</tool_result>`,
    )
    .join("\n\n")
}

function taskToken({ task, path }: Turn): string {
  const token = TASKS.get(task!)
  if (token !== undefined) return token
  throw new RenderError(
    "unknown_task",
    `Cannot render task ${JSON.stringify(task)}: expected ${[...TASKS.keys()].join(", ")}`,
    path,
  )
}

/** The parameters of a call. Arguments that are not the JSON text of an object are kept whole, in a
 *  parameter of the name `arguments`. */
function callArguments(call: Call, emptyIsNone: boolean): Map<string, Json> {
  const given = call.arguments
  if (given === undefined || given === null || given === "") {
    if (emptyIsNone) return new Map()
    if (given === undefined || given === null) {
      throw new RenderError(
        "call_without_arguments",
        `Cannot render the call of ${JSON.stringify(call.name)}: it has no arguments`,
        call.path,
      )
    }
  }
  const parsed = typeof given === "string" ? tryParseJson(given) : given
  return parsed instanceof Map ? parsed : new Map([["arguments", given]])
}
