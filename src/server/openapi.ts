/** GET /openapi.json: the routes as an OpenAPI 3.1 document. Its requests are made from the shapes that
 *  bodies are read by, so that the two cannot differ. */
import { toJsonSchema } from "@valibot/to-json-schema"
import * as v from "valibot"
import { version } from "../../package.json"
import { type AnswerName, ANSWERS } from "./answers.ts"
import { SHAPE as CHAT } from "./chat.ts"
import { SHAPE as COMPLETION } from "./completions.ts"
import { PROMPT as COUNT, SHAPE as MESSAGE } from "./messages.ts"
import { SHAPE as RESPONSE } from "./responses.ts"
import { DETOKENIZE, TEMPLATE, TOKENIZE } from "./tokens.ts"

interface Operation {
  id: string
  summary: string
  /** Fields of a POST's body; without them it is a GET. */
  body?: v.ObjectEntries
  /** The answer in JSON, or the type of one that is not. */
  answer: AnswerName | `text/${string}`
  /** The data of a stream's events. */
  event?: AnswerName
  /** Of the answers that say what is wrong. */
  error?: AnswerName
}

export const OPERATIONS: Readonly<Record<string, Operation>> = {
  "/v1/chat/completions": {
    id: "chatCompletions",
    summary: "OpenAI's chat, with reasoning_content",
    body: CHAT,
    answer: "ChatCompletion",
    event: "ChatCompletionChunk",
  },
  "/v1/responses": {
    id: "responses",
    summary: "OpenAI's Responses",
    body: RESPONSE,
    answer: "Response",
    event: "ResponseEvent",
  },
  "/v1/completions": {
    id: "completions",
    summary: "A raw prompt, text or ids, goes on",
    body: COMPLETION,
    answer: "Completion",
    event: "Completion",
  },
  "/v1/messages": {
    id: "messages",
    summary: "Anthropic's Messages",
    body: MESSAGE,
    answer: "Message",
    event: "MessageEvent",
    error: "MessageError",
  },
  "/v1/messages/count_tokens": {
    id: "countTokens",
    summary: "Tokens of a prompt of Anthropic's Messages",
    body: COUNT,
    answer: "MessageTokens",
    error: "MessageError",
  },
  "/tokenize": {
    id: "tokenize",
    summary: "Ids of a text",
    body: TOKENIZE,
    answer: "Tokens",
  },
  "/detokenize": {
    id: "detokenize",
    summary: "The text of ids",
    body: DETOKENIZE,
    answer: "Text",
  },
  "/apply-template": {
    id: "applyTemplate",
    summary: "A conversation as the prompt that the model would see",
    body: TEMPLATE,
    answer: "Prompt",
  },
  "/v1/models": { id: "models", summary: "The models, of which there is one", answer: "ModelList" },
  "/v1/models/{id}": { id: "model", summary: "A model", answer: "Model" },
  "/health": { id: "health", summary: "loading, ok or busy", answer: "Health" },
  "/metrics": { id: "metrics", summary: "Counters for Prometheus", answer: "text/plain" },
  "/openapi.json": { id: "openapi", summary: "This document", answer: "Document" },
  "/": { id: "page", summary: "The page for people", answer: "text/html" },
}

/** A field that this server does not know is ignored, and so is one that is null. */
const DESCRIPTION =
  "DeepSeek V4 Flash over the APIs of OpenAI and Anthropic. A field that is null is absent; one that " +
  "nobody knows is ignored and named in the header x-ds4-ignored."

/** A shape as a JSON schema. What JSON Schema cannot say (a check by a function) is left out. */
function schemaOf(shape: v.GenericSchema): object {
  const options = { target: "draft-2020-12", typeMode: "output", errorMode: "ignore" } as const
  const { $schema: _, ...schema } = toJsonSchema(shape, options)
  return schema
}

const named = (name: AnswerName) => ({ $ref: `#/components/schemas/${name}` })

function answersOf({ answer, event, error = "Error" }: Operation): object {
  const [type, schema] = answer.startsWith("text/")
    ? [answer, { type: "string" }]
    : ["application/json", named(answer as AnswerName)]
  const stream = event && {
    schema: { type: "string", description: `Server-sent events; the data of each is a ${event}` },
  }
  const failure = (description: string) => ({
    description,
    content: { "application/json": { schema: named(error) } },
  })
  return {
    200: {
      description: "The answer",
      content: { [type]: { schema }, ...(stream && { "text/event-stream": stream }) },
    },
    "4XX": failure("The request cannot be answered: the error says what is wrong with it"),
    "5XX": failure("The server cannot answer: it is loading the model, or failed"),
  }
}

function pathOf(path: string, operation: Operation): object {
  const { id, summary, body } = operation
  const names = [...path.matchAll(/\{(\w+)\}/g)].map((m) => m[1])
  const inPath = (name: string | undefined) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  })
  const content = body && { "application/json": { schema: schemaOf(v.object(body)) } }
  return {
    [body ? "post" : "get"]: {
      operationId: id,
      summary,
      ...(names.length > 0 && { parameters: names.map(inPath) }),
      ...(content && { requestBody: { required: true, content } }),
      responses: answersOf(operation),
    },
  }
}

/** The document. */
export function openApi(): object {
  const entries = (of: object, make: (name: string, value: never) => object) =>
    Object.fromEntries(
      Object.entries(of).map(([name, value]) => [name, make(name, value as never)]),
    )
  return {
    openapi: "3.1.0",
    info: {
      title: "ds4",
      version,
      description: DESCRIPTION,
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    // The last: a server on loopback that was given no key wants none.
    security: [{ bearer: [] }, { key: [] }, {}],
    paths: entries(OPERATIONS, pathOf),
    components: {
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer" },
        key: { type: "apiKey", in: "header", name: "x-api-key" },
      },
      schemas: entries(ANSWERS, (_, shape: v.GenericSchema) => schemaOf(shape)),
    },
  }
}
