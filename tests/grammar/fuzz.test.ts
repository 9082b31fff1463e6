/** Schemas nobody wrote: each is refused by name, or every text that its masks allow is valid. */
import { expect, test } from "bun:test"
import { Ajv2020 } from "ajv/dist/2020"
import { SchemaError } from "../../src/errors.ts"
import { grammarOf } from "../../src/grammar/index.ts"
import { Rng } from "../../src/session/sampler.ts"
import { miniWords, randomText } from "./support.ts"

const ajv = new Ajv2020({ strict: false, validateFormats: false })
const words = miniWords()

class Maker {
  readonly #rng: Rng
  constructor(seed: number) {
    this.#rng = new Rng(seed)
  }

  below(n: number): number {
    return Math.floor(this.#rng.next() * n)
  }

  pick<T>(all: readonly T[]): T {
    return all[this.below(all.length)]!
  }

  chance(p: number): boolean {
    return this.#rng.next() < p
  }

  schema(depth: number): unknown {
    const make = this.pick(depth > 0 ? [...FLAT, ...DEEP] : FLAT)
    const schema = make(this, depth)
    if (typeof schema !== "object" || schema === null || !this.chance(0.15)) return schema
    return { ...schema, ...(this.pick(EXTRAS)(this, depth) as object) }
  }

  some<T>(most: number, make: () => T): T[] {
    return Array.from({ length: this.below(most + 1) }, make)
  }
}

type Make = (m: Maker, depth: number) => unknown

const NAMES = ["a", "b", "ab", "naïve", 'q"x', "", "__proto__x"]
const VALUES = ["a", "ab", 1, -2.5, true, null, [1, "x"], { k: "v" }]
const number = (m: Maker) => m.pick([-100, -3, -0.5, 0, 1, 2.25, 7, 1000, 12345])

const FLAT: readonly Make[] = [
  (m) => ({
    type: "string",
    ...(m.chance(0.5) && { minLength: m.below(4), maxLength: m.below(8) }),
  }),
  (m) => ({
    type: "string",
    pattern: m.pick(["^a+$", "b", "^[^x]{2,4}$", "^(?:ab|c)*d?$", "^\\d\\.\\w$", "^$"]),
  }),
  (m) => ({
    type: m.pick(["integer", "number"]),
    ...(m.chance(0.6) && { minimum: number(m) }),
    ...(m.chance(0.6) && { maximum: number(m) }),
  }),
  (m) => ({
    type: m.pick(["integer", "number"]),
    exclusiveMinimum: number(m),
    exclusiveMaximum: number(m),
  }),
  (m) => ({ enum: m.some(3, () => m.pick(VALUES)) }),
  (m) => ({ const: m.pick(VALUES) }),
  (m) => ({ type: m.pick([["boolean", "null"], "boolean", "null", ["string", "integer"]]) }),
  (m) => m.pick([{}, true, false, { type: "object" }, { type: "array" }]),
]
const DEEP: readonly Make[] = [
  (m, d) => {
    const properties = Object.fromEntries(m.some(4, () => [m.pick(NAMES), m.schema(d - 1)]))
    const more = m.pick([
      {},
      { additionalProperties: false },
      { additionalProperties: m.schema(d - 1) },
    ])
    const keys = [...Object.keys(properties), ...m.some(1, () => m.pick(NAMES))]
    return {
      type: "object",
      properties,
      required: [...new Set(keys.filter(() => m.chance(0.5)))],
      ...more,
    }
  },
  (m, d) => ({
    type: "array",
    items: m.schema(d - 1),
    ...(m.chance(0.5) && { minItems: m.below(3), maxItems: m.below(4) }),
  }),
  (m, d) => ({
    type: "array",
    prefixItems: m.some(3, () => m.schema(d - 1)),
    ...(m.chance(0.5) && { items: m.schema(d - 1) }),
  }),
  (m, d) => ({ anyOf: m.some(3, () => m.schema(d - 1)) }),
  (m, d) => ({ oneOf: m.some(3, () => m.schema(d - 1)) }),
  (m, d) => ({ allOf: m.some(2, () => m.schema(d - 1)) }),
  (m, d) => ({ anyOf: [m.schema(d - 1), { $ref: "#" }] }),
  (m, d) => ({ type: "array", items: { anyOf: [m.schema(d - 1), { $ref: "#" }] }, maxItems: 2 }),
]
const EXTRAS: readonly Make[] = [
  () => ({ not: { const: 1 } }),
  () => ({ uniqueItems: true }),
  () => ({ multipleOf: 2 }),
  () => ({ minProperties: 1 }),
  () => ({ title: "t", "x-more": [1], default: 5 }),
  () => ({ type: ["string", "object"] }),
  () => ({ enum: ["a", 1, null] }),
  () => ({ $ref: "#" }),
  () => ({ minLength: 2 }),
  () => ({ additionalProperties: { type: "integer" } }),
]

/** The judge of a schema; nothing where it refuses to be one: a schema that leads back to itself it
 *  follows without end, and of keywords that mean nothing it wants to be valid. */
function compiled(schema: unknown): ((value: unknown) => boolean) | null {
  try {
    const validate = ajv.compile(schema as object)
    return (value) => {
      try {
        return validate(value)
      } catch {
        return true
      }
    }
  } catch {
    return null
  }
}

test("2,000 schemas: refused with a keyword, or what comes is valid", () => {
  let [held, refused] = [0, 0]
  for (let seed = 1; seed <= 2000; seed++) {
    const schema = new Maker(seed).schema(3)
    const constraint = { kind: "json", schema: JSON.stringify(schema) } as const
    try {
      grammarOf(constraint, true)
    } catch (error) {
      expect([seed, error]).toEqual([seed, expect.any(SchemaError)])
      refused++
      continue
    }
    const validate = compiled(schema)
    if (!validate) continue
    for (let walk = 1; walk <= 2; walk++) {
      const text = randomText(words, constraint, 7 * seed + walk, 20_000)
      const valid = validate(JSON.parse(text))
      expect({ schema, text, valid }).toEqual({ schema, text, valid: true })
    }
    held++
  }
  // Both happen a lot, or this tests little.
  expect(Math.min(held, refused)).toBeGreaterThan(400)
}, 60_000)
