/** JSON Schema to a grammar of JSON texts. What a schema says is held to or refused, never ignored; of the
 *  texts that satisfy it not all can come: keys are in the order of the schema, blanks are few, numbers
 *  are short. */
import { type Json, JsonNumber, type JsonObject, printJson } from "../chat/json.ts"
import { SchemaError } from "../errors.ts"
import { anyValue, arrayNode, objectNode, type ReadNode, valueLiteral } from "./collections.ts"
import { type LinkNode, choice, link, type Node, tree } from "./nodes.ts"
import { type Bounds, decimalOf, INTEGER, integerWithin, NUMBER, numberWithin } from "./numbers.ts"
import { alternativesOf, isAnnotation, merge, REFUSED } from "./keywords.ts"
import { insideOf, quoted, stringRules } from "./strings.ts"

const TYPES = ["object", "array", "string", "number", "integer", "boolean", "null"] as const
type TypeName = (typeof TYPES)[number]

/** Keywords that mean a type where none is named. */
const IMPLIED: readonly (readonly [TypeName, readonly string[]])[] = [
  ["object", ["properties", "required", "additionalProperties"]],
  ["array", ["items", "prefixItems", "minItems", "maxItems"]],
  ["string", ["pattern", "format", "minLength", "maxLength"]],
  ["number", ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]],
]
const MAX_DEPTH = 100
const MAX_SCHEMAS = 5000

/** Schemas, those inside others counted, that one grammar may still be made of. */
export interface Budget {
  left: number
}
export const newBudget = (): Budget => ({ left: MAX_SCHEMAS })

export class SchemaReader {
  readonly #root: Json
  readonly #refs = new Map<string, LinkNode>()
  readonly #budget: Budget
  #depth = 0

  constructor(root: Json, budget = newBudget()) {
    this.#root = root
    this.#budget = budget
  }

  /** The values that a schema allows.
   *  @throws SchemaError naming the place and the keyword */
  readonly node: ReadNode = (schema, path) => {
    if (--this.#budget.left < 0) throw new SchemaError(`${path}: the schema is too large`)
    if (++this.#depth > MAX_DEPTH) throw new SchemaError(`${path}: the schema is nested too deeply`)
    try {
      if (schema === true) return anyValue()
      if (schema === false) throw new SchemaError(`${path}: false is satisfied by nothing`)
      if (!(schema instanceof Map)) throw new SchemaError(`${path}: a schema is an object`)
      return this.#composed(this.#simplify(schema, path), path)
    } finally {
      this.#depth--
    }
  }

  /** A schema in its plainest form: no reference, no allOf. @throws SchemaError */
  resolve(schema: JsonObject, path: string): JsonObject {
    return this.#simplify(this.#resolved(schema, path), path)
  }

  /** A schema without allOf, and without a reference that has neighbours. */
  #simplify(schema: JsonObject, path: string): JsonObject {
    for (const [keyword, value] of schema) {
      const refuse = REFUSED.get(keyword)
      if (refuse?.(value, schema)) throw new SchemaError(`${path}: ${keyword} is not supported`)
    }
    let result = schema
    const all = result.get("allOf")
    if (all !== undefined) {
      result = new Map([...result].filter(([k]) => k !== "allOf"))
      for (const part of alternativesOf(all, `${path}.allOf`))
        result = merge(result, this.#resolved(part, path), path)
      return this.#simplify(result, path)
    }
    const ref = result.get("$ref")
    const others = [...result].filter(([k]) => k !== "$ref" && !isAnnotation(k))
    if (ref === undefined || others.length === 0) return result
    return this.#simplify(merge(new Map(others), this.#target(ref, path), path), path)
  }

  /** A schema that is a reference as what it refers to. */
  #resolved(schema: JsonObject, path: string, depth = 0): JsonObject {
    const ref = schema.get("$ref")
    if (ref === undefined) return schema
    if (depth > MAX_DEPTH) throw new SchemaError(`${path}: $ref leads back to itself`)
    return this.#resolved(this.#target(ref, path), path, depth + 1)
  }

  #target(ref: Json, path: string): JsonObject {
    const wrong = (why: string) => new SchemaError(`${path}: $ref ${printJson(ref)} ${why}`)
    if (typeof ref !== "string" || !/^#(?:$|\/)/.test(ref)) throw wrong("is not within the schema")
    let at: Json | undefined = this.#root
    for (const part of ref.slice(1).split("/").slice(1)) {
      const key = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~")
      if (at instanceof Map) at = at.get(key)
      else if (Array.isArray(at)) at = at[Number(key)]
      else at = undefined
    }
    if (!(at instanceof Map)) throw wrong("leads nowhere")
    return at
  }

  #composed(schema: JsonObject, path: string): Node {
    const ref = schema.get("$ref")
    if (ref !== undefined) return this.#linked(ref, path)
    for (const keyword of ["anyOf", "oneOf"]) {
      const some = schema.get(keyword)
      if (some === undefined) continue
      const rest: JsonObject = new Map(
        [...schema].filter(([k]) => k !== keyword && !isAnnotation(k)),
      )
      const options = alternativesOf(some, `${path}.${keyword}`)
      if (keyword === "oneOf") this.#checkApart(options, path)
      const merged = options.map((option) =>
        rest.size === 0 ? option : merge(rest, this.#resolved(option, path), path),
      )
      return choice(...merged.map((option, i) => this.node(option, `${path}.${keyword}.${i}`)))
    }
    const literals = this.#literals(schema, path)
    if (literals) return tree(literals.map(valueLiteral))
    return choice(...typesOf(schema, path).map((type) => this.#typed(type, schema, path)))
  }

  /** The node of a reference: made once, so that a schema may hold itself. */
  #linked(ref: Json, path: string): Node {
    const target = this.#target(ref, path)
    const key = ref as string
    const known = this.#refs.get(key)
    if (known) return known
    const made = link()
    this.#refs.set(key, made)
    made.target = this.node(target, key)
    return made
  }

  /** The values of enum and const. */
  #literals(schema: JsonObject, path: string): Json[] | undefined {
    const [some, one] = [schema.get("enum"), schema.get("const")]
    if (some === undefined && one === undefined && !schema.has("const")) return undefined
    if (some !== undefined && !Array.isArray(some))
      throw new SchemaError(`${path}: enum must be an array`)
    const all = some === undefined ? [one!] : (some as Json[])
    const types = schema.has("type") || schema.has("nullable") ? typesOf(schema, path) : undefined
    const fitting = types ? all.filter((value) => types.some((type) => isOfType(value, type))) : all
    if (fitting.length === 0) throw new SchemaError(`${path}: enum has no value that could be used`)
    return fitting
  }

  #typed(type: TypeName, schema: JsonObject, path: string): Node {
    switch (type) {
      case "object":
        return objectNode(this.node, schema, path)
      case "array":
        return arrayNode(this.node, schema, path)
      case "string":
        return quoted(insideOf(stringRules(schema, path), true))
      case "boolean":
        return tree([true, false].map(valueLiteral))
      case "null":
        return tree([valueLiteral(null)])
      default:
        return numeric(type, schema, path)
    }
  }

  /** One of several holds only if they cannot hold together. @throws SchemaError if they might */
  #checkApart(options: readonly JsonObject[], path: string): void {
    const all = options.map((o) => this.resolve(o, path))
    all.forEach((a, i) => {
      if (all.slice(i + 1).some((b) => !areApart(a, b)))
        throw new SchemaError(`${path}: oneOf has alternatives that may hold together; use anyOf`)
    })
  }
}

function areApart(a: JsonObject, b: JsonObject): boolean {
  const [typesA, typesB] = [a, b].map((s) => (s.has("type") ? typesOf(s, "") : undefined))
  const kind = (t: TypeName) => (t === "integer" ? "number" : t)
  if (typesA && typesB && !typesA.some((t) => typesB.some((u) => kind(t) === kind(u)))) return true
  const [someA, someB] = [a, b].map(valuesOf)
  if (someA && someB && !someA.some((v) => someB.includes(v))) return true
  const [propsA, propsB] = [a.get("properties"), b.get("properties")]
  if (!(propsA instanceof Map && propsB instanceof Map)) return false
  const needs = (s: JsonObject, key: string) => (s.get("required") as Json[])?.includes(key)
  return [...propsA.keys()].some((key) => {
    const [x, y] = [propsA.get(key), propsB.get(key)]
    if (!(x instanceof Map && y instanceof Map) || !needs(a, key) || !needs(b, key)) return false
    const [valuesX, valuesY] = [valuesOf(x), valuesOf(y)]
    return valuesX && valuesY && !valuesX.some((v) => valuesY.includes(v))
  })
}

/** Printed values of enum or const. */
function valuesOf(schema: JsonObject): string[] | undefined {
  const some = schema.has("const") ? [schema.get("const")!] : schema.get("enum")
  return Array.isArray(some) ? some.map(printJson) : undefined
}

/** The types of a schema: named, else meant by its keywords, else all. */
export function typesOf(schema: JsonObject, path: string): TypeName[] {
  const type = schema.get("type")
  const named = type === undefined ? [] : Array.isArray(type) ? type : [type]
  for (const name of named)
    if (!TYPES.includes(name as TypeName))
      throw new SchemaError(`${path}: type ${printJson(name)} is none of ${TYPES.join(", ")}`)
  if (Array.isArray(type) && type.length === 0) throw new SchemaError(`${path}: type is empty`)
  const implied = IMPLIED.filter(([, keys]) => keys.some((k) => schema.has(k))).map(([t]) => t)
  const types = named.length > 0 ? (named as TypeName[]) : implied.length > 0 ? implied : [...TYPES]
  return schema.get("nullable") === true && !types.includes("null") ? [...types, "null"] : types
}

function isOfType(value: Json, type: TypeName): boolean {
  if (value === null) return type === "null"
  if (Array.isArray(value)) return type === "array"
  if (value instanceof Map) return type === "object"
  if (!(value instanceof JsonNumber)) return typeof value === type
  return type === "number" || (type === "integer" && Number.isInteger(Number(value.text)))
}

function numeric(type: "number" | "integer", schema: JsonObject, path: string): Node {
  const bound = (keyword: string) => {
    const value = schema.get(keyword)
    if (value === undefined) return undefined
    const decimal = value instanceof JsonNumber ? decimalOf(value.text) : undefined
    if (!decimal) throw new SchemaError(`${path}: ${keyword} ${printJson(value)} is not supported`)
    return decimal
  }
  const [min, minOut] = [bound("minimum"), bound("exclusiveMinimum")]
  const [max, maxOut] = [bound("maximum"), bound("exclusiveMaximum")]
  for (const [a, b] of [
    ["minimum", "exclusiveMinimum"],
    ["maximum", "exclusiveMaximum"],
  ] as const)
    if (schema.has(a) && schema.has(b))
      throw new SchemaError(`${path}: ${a} together with ${b} is not supported`)
  if (!min && !max && !minOut && !maxOut) return type === "integer" ? INTEGER : NUMBER
  const bounds: Bounds = {
    min: min ?? minOut,
    max: max ?? maxOut,
    minIsOut: minOut !== undefined,
    maxIsOut: maxOut !== undefined,
  }
  const node = type === "integer" ? integerWithin(bounds) : numberWithin(bounds)
  if (node) return node
  throw new SchemaError(`${path}: no ${type} is between minimum and maximum`)
}
