import { OutputParser } from "./parser.ts"
import type { ParserOptions } from "./parser.ts"
import type { ChatDone, ChatEvent, ParseErrorCode } from "./types.ts"

/** A call the model made. `arguments` is JSON text, as the model wrote it. */
export interface OutputCall {
  type: "function"
  function: { name: string; arguments: string }
}

/** An output as a whole. */
export interface ParsedOutput {
  content: string
  reasoning_content: string
  /** Complete calls only, without ids: the caller makes those. */
  tool_calls: OutputCall[]
  finish: ChatDone["finish"]
  error?: ParseErrorCode
  rest?: string
}

/** Joins events of the same kind that follow each other. */
export function mergeEvents(events: Iterable<ChatEvent>): ChatEvent[] {
  const merged: ChatEvent[] = []
  for (const event of events) {
    const last = merged.at(-1)
    const joins =
      last !== undefined &&
      "text" in event &&
      "text" in last &&
      last.type === event.type &&
      (!("index" in event) || !("index" in last) || event.index === last.index)
    if (joins) last.text += event.text
    else merged.push({ ...event })
  }
  return merged
}

/** The message that a list of events, from the first to `done`, tells. */
export function collectEvents(events: Iterable<ChatEvent>): ParsedOutput {
  const output: ParsedOutput = {
    content: "",
    reasoning_content: "",
    tool_calls: [],
    finish: "cut",
  }
  let call: OutputCall | undefined
  for (const event of events) {
    if (event.type === "text") output.content += event.text
    else if (event.type === "thinking") output.reasoning_content += event.text
    else if (event.type === "call_start") {
      call = { type: "function", function: { name: event.name, arguments: "" } }
    } else if (event.type === "call_arguments") call!.function.arguments += event.text
    else if (event.type === "call_end") output.tool_calls.push(call!)
    else if (event.type === "done") {
      output.finish = event.finish
      if (event.error !== undefined) output.error = event.error
      if (event.rest !== undefined) output.rest = event.rest
    }
  }
  return output
}

/** Parses a whole output, with its end token if the model ended it. Never throws; what is no call
 *  is content. */
export function parseOutput(text: string, options: ParserOptions): ParsedOutput {
  const parser = new OutputParser(options)
  return collectEvents([...parser.push(text), ...parser.end()])
}
