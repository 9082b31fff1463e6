/** JSON strings within what a schema says of them. */
import type { JsonObject } from "../chat/json.ts"
import { SchemaError } from "../errors.ts"
import { countOf } from "./keywords.ts"
import { literal, type Node, sequence, text } from "./nodes.ts"
import { regexNode } from "./regex.ts"
import { character, jsonCharacter, type Ranges, without } from "./text.ts"

const DATE = "\\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\\d|2[0-8])"
const TIME =
  "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
const BYTE = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
const LABEL = "[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?"
const HOST = `${LABEL}(?:\\.${LABEL}){1,4}`
const PATH = "[A-Za-z0-9._~!$&'()*+,;=:@%/-]"
const HEX4 = "[0-9a-f]{1,4}"

/** Formats as expressions; each takes only what the format allows, if not all of it (no 29th of a month). */
const FORMATS: ReadonlyMap<string, string> = new Map([
  ["date", DATE],
  ["time", TIME],
  ["date-time", `${DATE}T${TIME}`],
  [
    "duration",
    "P(?:\\d{1,6}W|(?:\\d{1,6}Y)?(?:\\d{1,6}M)?\\d{1,6}D|T(?:\\d{1,6}H)?(?:\\d{1,6}M)?\\d{1,6}S)",
  ],
  ["email", `[a-z0-9]{1,24}(?:[._+-][a-z0-9]{1,12}){0,3}@${HOST}`],
  ["hostname", HOST],
  ["ipv4", `${BYTE}(?:\\.${BYTE}){3}`],
  ["ipv6", `${HEX4}(?::${HEX4}){7}`],
  ["uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"],
  ["uri", `https?://${HOST}(?:/${PATH}{0,200})?`],
  ["url", `https?://${HOST}(?:/${PATH}{0,200})?`],
])

/** What a schema says of the inside of a string. */
export interface StringRules {
  min: number
  max: number
  /** An expression the whole must match somewhere. */
  pattern?: string
}

/** @throws SchemaError for what cannot be held to, or by nothing */
export function stringRules(schema: JsonObject, path: string): StringRules {
  const min = countOf(schema, "minLength", path) ?? 0
  const max = countOf(schema, "maxLength", path) ?? Infinity
  if (min > max) throw new SchemaError(`${path}: minLength ${min} is more than maxLength ${max}`)
  const [pattern, format] = [schema.get("pattern"), schema.get("format")]
  const hasLength = min > 0 || max < Infinity
  if (pattern !== undefined && format !== undefined)
    throw new SchemaError(`${path}: pattern together with format is not supported`)
  const one = pattern !== undefined ? "pattern" : "format"
  if ((pattern ?? format) !== undefined && hasLength)
    throw new SchemaError(`${path}: ${one} together with minLength or maxLength is not supported`)
  if (pattern !== undefined) {
    if (typeof pattern !== "string") throw new SchemaError(`${path}: pattern must be a string`)
    return { min, max, pattern }
  }
  if (format === undefined) return { min, max }
  const known = FORMATS.get(String(format))
  if (known === undefined)
    throw new SchemaError(`${path}: format "${String(format)}" is not supported`)
  return { min, max, pattern: `^(?:${known})$` }
}

/** The inside of a JSON string, without its quotes, or plain text without `<`. */
export function insideOf({ min, max, pattern }: StringRules, isJson: boolean): Node {
  if (pattern === undefined) return text(min, max, isJson)
  return regexNode(pattern, isJson ? jsonCharacter : plainCharacter)
}

const plainCharacter = (ranges: Ranges) => character(without(ranges, [[LESS_THAN, LESS_THAN]]))
const LESS_THAN = 0x3c

const QUOTE = literal('"')
export const quoted = (inside: Node): Node => sequence(QUOTE, inside, QUOTE)
