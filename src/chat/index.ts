/** Conversations to prompts, and what the model says to events. Pure: no files, no engine. */

export { conversationOf, parseConversation, parseConversations } from "./conversation.ts"
export { JsonNumber, parseJson, printJson, toJson, toPlain, tryParseJson } from "./json.ts"
export type { Json, JsonObject } from "./json.ts"
export type { Encoder } from "./prompts.ts"
export { encodePrompt, spansToText } from "./spans.ts"
export type { SpanEncoder } from "./spans.ts"
export { render } from "./template.ts"
export type { RenderOptions } from "./template.ts"
export * from "./types.ts"
