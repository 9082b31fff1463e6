/** Keywords of JSON Schema: those that say nothing of a value, those that cannot be held to, and how two
 *  schemas hold together. */
import { type Json, type JsonObject, JsonNumber, printJson } from "../chat/json.ts"
import { SchemaError } from "../errors.ts"

const ANNOTATIONS = new Set([
  "$anchor",
  "$comment",
  "$defs",
  "$id",
  "$schema",
  "contentEncoding",
  "contentMediaType",
  "default",
  "definitions",
  "deprecated",
  "description",
  "discriminator",
  "example",
  "examples",
  "externalDocs",
  "readOnly",
  "title",
  "writeOnly",
  "xml",
])
export const isAnnotation = (keyword: string): boolean =>
  ANNOTATIONS.has(keyword) || keyword.startsWith("x-")

const always = () => true
const required = (schema: JsonObject) => schema.get("required")

type Rule = (value: Json, schema: JsonObject) => boolean

/** Keywords that are refused, unless what they say here is true anyway. */
export const REFUSED: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ...[
    "$dynamicRef",
    "$recursiveRef",
    "not",
    "if",
    "then",
    "else",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "contains",
    "minContains",
    "maxContains",
    "unevaluatedItems",
    "additionalItems",
    "maxProperties",
  ].map((keyword) => [keyword, always] as const),
  ["patternProperties", (value) => !(value instanceof Map && value.size === 0)],
  [
    "propertyNames",
    (value) =>
      !(value instanceof Map) || [...value].some(([k, v]) => k !== "type" || v !== "string"),
  ],
  ["unevaluatedProperties", (value) => value !== true],
  ["uniqueItems", (value) => value !== false],
  ["multipleOf", (value, schema) => !(isOne(value) && schema.get("type") === "integer")],
  [
    "minProperties",
    (value, schema) => {
      const least = value instanceof JsonNumber ? Number(value.text) : Number.NaN
      const given = required(schema)
      return !(least <= (Array.isArray(given) ? given.length : 0))
    },
  ],
])

const isOne = (value: Json) => value instanceof JsonNumber && Number(value.text) === 1

/** The schemas of allOf, anyOf or oneOf. */
export function alternativesOf(value: Json, path: string): JsonObject[] {
  if (!Array.isArray(value) || value.length === 0)
    throw new SchemaError(`${path} must be a list of schemas`)
  return value.map((schema) => {
    if (schema instanceof Map) return schema
    if (schema === true) return new Map()
    throw new SchemaError(`${path}: ${printJson(schema)} is satisfied by nothing or is no schema`)
  })
}

/** A schema that says what both say. @throws SchemaError where that cannot be said in one */
export function merge(a: JsonObject, b: JsonObject, path: string): JsonObject {
  const out: JsonObject = new Map(a)
  for (const [keyword, value] of b) {
    const other = out.get(keyword)
    if (other === undefined || isAnnotation(keyword)) out.set(keyword, value)
    else out.set(keyword, both(keyword, other, value, path))
  }
  for (const [closed, open] of [
    [a, b],
    [b, a],
  ] as const) {
    const known = closed.get("properties")
    const more = open.get("properties")
    if (closed.get("additionalProperties") !== false || !(more instanceof Map)) continue
    if ([...more.keys()].some((key) => !(known instanceof Map && known.has(key))))
      throw new SchemaError(
        `${path}: additionalProperties forbids properties that are named beside it`,
      )
  }
  return out
}

function both(keyword: string, a: Json, b: Json, path: string): Json {
  if (printJson(a) === printJson(b)) return a
  const list = (v: Json) => (Array.isArray(v) ? v : [v])
  switch (keyword) {
    case "required":
      return [...new Set([...list(a), ...list(b)])]
    case "type":
    case "enum": {
      const texts = new Set(list(b).map(printJson))
      const common = list(a).filter((v) => texts.has(printJson(v)))
      if (common.length > 0) return common
      break
    }
    case "additionalProperties":
      if (a === false || b === false) return false
      break
    case "properties":
      if (a instanceof Map && b instanceof Map) {
        const out: JsonObject = new Map(a)
        for (const [key, schema] of b) {
          const other = out.get(key)
          const isBoth = other instanceof Map && schema instanceof Map
          out.set(key, isBoth ? merge(other, schema, `${path}.${key}`) : schema)
        }
        return out
      }
  }
  throw new SchemaError(`${path}: ${keyword} is said twice, in ways that cannot be held together`)
}

/** A keyword's count. @throws SchemaError if it is none */
export function countOf(schema: JsonObject, keyword: string, path: string): number | undefined {
  const value = schema.get(keyword)
  if (value === undefined) return undefined
  const count = value instanceof JsonNumber ? Number(value.text) : Number.NaN
  if (!Number.isInteger(count) || count < 0)
    throw new SchemaError(`${path}: ${keyword} must be a whole number, 0 or more`)
  return count
}
