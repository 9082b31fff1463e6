/** Objects, arrays and values of any kind, in JSON. Between tokens there is at most one blank, or a new
 *  line with its indentation. */
import { type Json, type JsonObject, printJson } from "../chat/json.ts"
import { SchemaError } from "../errors.ts"
import { countOf } from "./keywords.ts"
import {
  choice,
  EMPTY,
  literal,
  type Node,
  optional,
  repeat,
  sequence,
  symbolSet,
  symbolsOf,
  text,
  tree,
} from "./nodes.ts"
import { NUMBER } from "./numbers.ts"
import { quoted } from "./strings.ts"

/** The values that a schema inside another allows. @throws SchemaError */
export type ReadNode = (schema: Json, path: string) => Node

const BLANK = literal(" ")
const GAP = choice(
  EMPTY,
  BLANK,
  sequence(literal("\n"), choice(repeat(BLANK, 0, 64), repeat(literal("\t"), 1, 32))),
)
const COMMA = sequence(literal(","), GAP)
const COLON = sequence(literal(":"), optional(BLANK))
const ANY_DEPTH = 12

/** A value as it is written where only this one can stand. */
export const valueLiteral = (value: Json): number[] => symbolsOf(printJson(value))

/** Items in brackets. */
function bracketed(open: string, items: Node, close: string, canBeEmpty: boolean): Node {
  const full = sequence(GAP, items, GAP, literal(close))
  return sequence(literal(open), canBeEmpty ? choice(literal(close), full) : full)
}

const anyKey = quoted(text())
/** Numbers, true, false and null. */
export const anyScalar = choice(NUMBER, tree([true, false, null].map(valueLiteral)))
const anyOfDepth: Node[] = [choice(quoted(text()), anyScalar)]
/** Any value, nested at most so deeply. */
export function anyValue(depth = ANY_DEPTH): Node {
  return (anyOfDepth[depth] ??= choice(anyOfDepth[0]!, anyObject(depth - 1), anyArray(depth - 1)))
}

const arrays: Node[] = []
/** Any array with values nested at most so deeply. */
export function anyArray(depth = ANY_DEPTH): Node {
  const known = arrays[depth]
  if (known) return known
  const item = anyValue(depth)
  const items = sequence(item, repeat(sequence(COMMA, item), 0))
  return (arrays[depth] = bracketed("[", items, "]", true))
}

const objects: Node[] = []
/** Any object with values nested at most so deeply. */
export function anyObject(depth = ANY_DEPTH): Node {
  const known = objects[depth]
  if (known) return known
  const member = sequence(anyKey, COLON, anyValue(depth))
  const members = sequence(member, repeat(sequence(COMMA, member), 0))
  return (objects[depth] = bracketed("{", members, "}", true))
}

/** Properties of a schema with what is required of them, in order. */
export function propertiesOf(
  schema: JsonObject,
  path: string,
): Map<string, { schema: Json; isRequired: boolean }> {
  const properties = schema.get("properties") ?? new Map()
  const required = schema.get("required") ?? []
  if (!(properties instanceof Map)) throw new SchemaError(`${path}: properties must be an object`)
  if (!Array.isArray(required) || required.some((key) => typeof key !== "string"))
    throw new SchemaError(`${path}: required must be a list of names`)
  const out = new Map(
    [...properties].map(([key, value]) => [key, { schema: value, isRequired: false }]),
  )
  for (const key of required as string[])
    out.set(key, { schema: out.get(key)?.schema ?? true, isRequired: true })
  return out
}

/** Objects: the properties in order, those that are not required may be left out; then any others. */
export function objectNode(read: ReadNode, schema: JsonObject, path: string): Node {
  const properties = propertiesOf(schema, path)
  const more = schema.get("additionalProperties") ?? schema.get("properties") === undefined
  const isOpen = more !== false
  const members = Array.from(properties, ([key, { schema: value, isRequired }]) => ({
    node: sequence(literal(printJson(key)), COLON, read(value, `${path}.${key}`)),
    isRequired,
  }))
  if (members.length === 0 && !isOpen) return literal("{}")
  const other = isOpen
    ? sequence(otherKey([...properties.keys()]), COLON, read(more, `${path}.additionalProperties`))
    : undefined
  return bracketed("{", ordered(members, other), "}", !members.some((m) => m.isRequired))
}

/** At least one of the members, in order, all that are required among them, then any number of others. */
function ordered(
  members: readonly { node: Node; isRequired: boolean }[],
  other: Node | undefined,
): Node {
  const others = other ? repeat(sequence(COMMA, other), 0) : EMPTY
  /** What may follow when something stands before, and when nothing does (null: something must). */
  let after: Node = others
  let first: Node | null = other ? sequence(other, others) : null
  for (const { node, isRequired } of members.toReversed()) {
    const here = sequence(node, after)
    first = isRequired || !first ? here : choice(here, first)
    after = isRequired ? sequence(COMMA, here) : choice(sequence(COMMA, here), after)
  }
  return first!
}

/** A key that is none of those named. */
function otherKey(names: readonly string[]): Node {
  const keys = names
    .map((name) => printJson(name).slice(1, -1))
    .filter((key) => !key.includes("\\"))
  return sequence(
    literal('"'),
    unlike(
      keys.map((key) => symbolsOf(key)),
      0,
    ),
    literal('"'),
  )
}

/** Texts that are none of the keys, which agree up to `at`. */
function unlike(keys: readonly (readonly number[])[], at: number): Node {
  if (keys.length === 0) return text()
  const next = new Set(keys.flatMap((key) => (at < key.length ? [key[at]!] : [])))
  const plain: [number, number][] = []
  for (let s = 0x20; s < 0x7f; s++) if (s !== 0x22 && s !== 0x5c && !next.has(s)) plain.push([s, s])
  const other = sequence(symbolSet(plain, true), text())
  const same = Array.from(next, (s) =>
    sequence(
      symbolSet([[s, s]], true),
      unlike(
        keys.filter((key) => key[at] === s),
        at + 1,
      ),
    ),
  )
  const isKey = keys.some((key) => key.length === at)
  return choice(other, ...same, ...(isKey ? [] : [EMPTY]))
}

export function arrayNode(read: ReadNode, schema: JsonObject, path: string): Node {
  const min = countOf(schema, "minItems", path) ?? 0
  const max = countOf(schema, "maxItems", path) ?? Infinity
  if (min > max) throw new SchemaError(`${path}: minItems ${min} is more than maxItems ${max}`)
  const items = schema.get("items") ?? true
  const listed = Array.isArray(items) ? items : schema.get("prefixItems")
  if (listed !== undefined) return tupleNode(read, schema, listed, [min, max], path)
  if (max === 0 || items === false) {
    if (min > 0) throw new SchemaError(`${path}: minItems ${min} where no item can be`)
    return literal("[]")
  }
  const item = read(items, `${path}.items`)
  const rest = repeat(sequence(COMMA, item), Math.max(min - 1, 0), max - 1)
  return bracketed("[", sequence(item, rest), "]", min === 0)
}

/** Arrays whose first items have schemas of their own; all of those are there. */
function tupleNode(
  read: ReadNode,
  schema: JsonObject,
  listed: Json,
  [min, max]: [number, number],
  path: string,
): Node {
  if (!Array.isArray(listed)) throw new SchemaError(`${path}: prefixItems must be a list`)
  const n = listed.length
  if (n === 0 || max < n) throw new SchemaError(`${path}: maxItems ${max} is less than prefixItems`)
  const first = listed.map((item, i) => read(item, `${path}.prefixItems.${i}`))
  const items = Array.isArray(schema.get("items")) ? false : (schema.get("items") ?? false)
  if (items === false && min > n) throw new SchemaError(`${path}: minItems ${min}, but ${n} items`)
  const more =
    items === false
      ? EMPTY
      : repeat(sequence(COMMA, read(items, `${path}.items`)), Math.max(min - n, 0), max - n)
  const all = first.flatMap((item, i) => (i === 0 ? [item] : [COMMA, item]))
  return bracketed("[", sequence(...all, more), "]", false)
}
