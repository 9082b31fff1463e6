import { describe, expect, test } from "bun:test"
import { Ajv2020 } from "ajv/dist/2020"
import addFormats from "ajv-formats"
import { SchemaError } from "../../src/errors.ts"
import { grammarOf } from "../../src/grammar/index.ts"
import { Machine } from "../../src/grammar/machine.ts"
import { Matcher, TokenMasks } from "../../src/grammar/matcher.ts"
import { allows, fullWords, miniWords, randomText, type Words } from "./support.ts"

const ajv = new Ajv2020({ strict: false })
addFormats.default(ajv)

const json = (schema: unknown) => ({ kind: "json", schema: JSON.stringify(schema) }) as const
const object = (properties: object, required: string[] = Object.keys(properties), more = {}) => ({
  type: "object",
  properties,
  required,
  ...more,
})

/** Schemas, with texts that they allow. */
const SCHEMAS: readonly (readonly [schema: unknown, ...valid: string[]])[] = [
  [{ type: "string" }, '"a"', '"\\u00e9\\n 漢字 🌍"', '""'],
  [{ type: "string", minLength: 2, maxLength: 3 }, '"ab"', '"漢🌍字"', '"\\"\\\\"'],
  [{ type: "integer" }, "0", "-12", "123456789012345678901234567890"],
  [{ type: "number" }, "-0.5", "1e9", "12.25E-3"],
  [{ type: "number", minimum: -0.5, exclusiveMaximum: 12.25 }, "-0.50", "12", "12.24", "0"],
  [{ type: ["boolean", "null"] }, "true", "null"],
  [{ enum: ["red", 3, null, { a: [1, 2] }] }, '"red"', "3", '{"a": [1, 2]}'],
  [{ const: "naïve 🌍" }, '"naïve 🌍"'],
  [
    object({ city: { type: "string" }, n: { type: "integer" } }),
    '{"city": "x", "n": 1}',
    '{\n  "city":"x",\n  "n":1\n}',
  ],
  [
    object({ a: { type: "integer" }, b: { type: "null" }, c: { type: "boolean" } }, ["b"]),
    '{"b":null}',
    '{"a": 1, "b": null, "c": true}',
  ],
  [object({ a: { type: "integer" }, b: { type: "integer" } }, []), "{}", '{"b": 2}', '{"a": 1}'],
  [{ type: "object", additionalProperties: { type: "integer" } }, "{}", '{"x": 1, "y": 2}'],
  [
    object({ ab: { type: "integer" } }, ["ab"], { additionalProperties: { type: "null" } }),
    '{"ab": 1, "a": null, "abc": null, "x": null}',
  ],
  [{ type: "object", additionalProperties: false }, "{}"],
  [{ type: "array", items: { type: "integer" }, minItems: 1, maxItems: 3 }, "[1]", "[1, 2, 3]"],
  [
    { type: "array", prefixItems: [{ type: "integer" }, { type: "string" }], items: false },
    '[1, "x"]',
  ],
  [{ type: "array", items: object({ k: { enum: ["x", "y"] } }) }, "[]", '[{"k": "x"}, {"k": "y"}]'],
  [
    { anyOf: [{ type: "string", maxLength: 3 }, object({ v: { type: "number" } })] },
    '"abc"',
    '{"v": 1.5}',
  ],
  [
    {
      oneOf: [object({ t: { const: "a" }, x: { type: "integer" } }), object({ t: { const: "b" } })],
    },
    '{"t": "a", "x": 1}',
    '{"t": "b"}',
  ],
  [
    { allOf: [object({ a: { type: "integer" } }), object({ b: { type: "integer" } })] },
    '{"a": 1, "b": 2}',
  ],
  [
    {
      $ref: "#/$defs/tree",
      $defs: {
        tree: object({
          v: { type: "integer" },
          kids: { type: "array", items: { $ref: "#/$defs/tree" }, maxItems: 2 },
        }),
      },
    },
    '{"v": 1, "kids": [{"v": 2, "kids": []}]}',
  ],
  [object({ next: { anyOf: [{ $ref: "#" }, { type: "null" }] } }), '{"next": {"next": null}}'],
  [{ type: "string", pattern: "^[A-Z]{2}\\d+(?:-x|\\.é)?$" }, '"AB1"', '"QZ77-x"', '"QZ7.é"'],
  [{ type: "string", pattern: "b[^a\\s]" }, '"b1"', '"xx b\\\\ yy"'],
  ...[
    "date",
    "time",
    "date-time",
    "email",
    "ipv4",
    "ipv6",
    "uuid",
    "hostname",
    "duration",
    "uri",
  ].map((format) => [{ type: "string", format }] as const),
  [{ type: "integer", minimum: 1, maximum: 10, description: "d", "x-y": 1 }, "1", "10"],
  [
    object({ tags: { type: "array", items: { type: "string", enum: ["a", "b"] } } }, [], {
      title: "T",
    }),
    '{"tags": ["a", "b", "a"]}',
  ],
]

const all: [string, Words][] = [
  ["mini", miniWords()],
  ["full", await fullWords()],
]

describe.each(all)("%s vocabulary", (name, words) => {
  test.each(SCHEMAS.map((s) => [JSON.stringify(s[0]).slice(0, 80), s] as const))(
    "%s: what comes is valid, what is valid can come",
    (_name, [schema, ...valid]) => {
      const validate = ajv.compile(schema as object)
      for (let seed = 1; seed <= (name === "mini" ? 12 : 2); seed++) {
        const text = randomText(words, json(schema), seed)
        if (!validate(JSON.parse(text)))
          throw new Error(`${text}: ${ajv.errorsText(validate.errors)}`)
      }
      for (const text of valid) {
        expect([text, validate(JSON.parse(text))]).toEqual([text, true])
        expect([text, allows(words, json(schema), text)]).toEqual([text, true])
      }
    },
  )

  test("bounds of integers and numbers are kept to the unit", () => {
    const integers = { type: "integer", minimum: -12, exclusiveMaximum: 107 }
    for (let n = -130; n <= 1200; n++)
      expect([n, allows(words, json(integers), `${n}`)]).toEqual([n, n >= -12 && n < 107])
    const numbers = { type: "number", exclusiveMinimum: -0.3, maximum: 1.7 }
    for (let n = -150; n <= 300; n++) {
      const text = (n / 100).toFixed(2)
      expect([text, allows(words, json(numbers), text)]).toEqual([text, n > -30 && n <= 170])
    }
  })

  test("what a schema forbids cannot come", () => {
    const no = (schema: unknown, ...texts: string[]) => {
      for (const text of texts)
        expect([text, allows(words, json(schema), text)]).toEqual([text, false])
    }
    no({ type: "string", maxLength: 3 }, '"abcd"', '"漢字漢字"', '"a\\n\\n\\n"')
    no({ type: "string" }, '"\n"', '"\\x"', '"\\ud800"', "'a'", '"a" ')
    no(
      object({ a: {}, b: {} }),
      '{"a": 1}',
      '{"b": 1, "a": 1}',
      '{"a": 1, "b": 2, "c": 3}',
      '{"a": 1,, "b": 2}',
    )
    no(
      object({ ab: { type: "integer" } }, [], { additionalProperties: { type: "null" } }),
      '{"x": null, "ab": null}',
    )
    no({ type: "integer" }, "01", "1.0", "+1", "1".repeat(33))
    no({ type: "array", items: { type: "integer" } }, "[1 2]", "[1,]", "[1,  2]", "[1,\n\n2]")
  })
})

test("texts go on where another with the same grammar has made the machine forget", () => {
  const [[, { tokenizer, grammars }]] = all as [[string, Words]]
  const root = grammarOf(json(object({ a: { type: "string" }, n: { type: "integer" } })), true)
  const masks = new TokenMasks(new Machine(root), grammars.vocabulary)
  const texts = ['{"a": "x", "n": 12}', '{"a": "other words", "n": -3}']
  const open = texts.map((text) => ({
    matcher: new Matcher(masks),
    ids: [...tokenizer.encode(text), tokenizer.eosId!],
  }))
  for (let i = 0; open.some(({ ids }) => i < ids.length); i++) {
    for (const { matcher, ids } of open) {
      const id = ids[i]
      if (id === undefined) continue
      expect((matcher.mask()[id >> 5]! >>> (id & 31)) & 1).toBe(1)
      matcher.push(id)
    }
    masks.machine.forget(masks.machine.start)
  }
})

test("an object of any kind is an object, and ends", () => {
  const [[, words]] = all as [[string, Words]]
  for (let seed = 1; seed <= 20; seed++)
    expect(typeof JSON.parse(randomText(words, { kind: "json" }, seed, 20_000))).toBe("object")
})

describe("refused, with the place and the keyword", () => {
  const cases: readonly (readonly [schema: unknown, message: RegExp])[] = [
    [object({ odd: { enum: [] } }), /schema\.odd: enum/],
    [
      object({ odd: { type: "integer", minimum: 5, maximum: 3 } }),
      /schema\.odd: no integer .* minimum and maximum/,
    ],
    [{ type: "string", minLength: 3, maxLength: 2 }, /minLength 3 is more than maxLength 2/],
    [{ type: "array", minItems: 3, maxItems: 2 }, /minItems 3 is more than maxItems 2/],
    [
      { type: "string", format: "date", maxLength: 5 },
      /format together with minLength or maxLength/,
    ],
    [{ type: "string", pattern: "(?=a)" }, /pattern: \(\?=/],
    [{ type: "string", pattern: "(a)\\1" }, /pattern: \\1/],
    [{ type: "string", pattern: "(" }, /pattern: /],
    [{ not: { type: "string" } }, /not is not supported/],
    [{ type: "array", items: {}, uniqueItems: true }, /uniqueItems/],
    [{ type: "number", multipleOf: 3 }, /multipleOf/],
    [{ oneOf: [{ type: "string" }, { type: "string", maxLength: 3 }] }, /oneOf .* anyOf/],
    [{ $ref: "#/$defs/none" }, /\$ref "#\/\$defs\/none" leads nowhere/],
    [{ $ref: "http://x/y" }, /\$ref .* is not within the schema/],
    [{ $ref: "#" }, /satisfied by nothing/],
    [object({ a: { $ref: "#" } }), /satisfied by nothing/],
    [{ type: "thing" }, /type "thing"/],
    [{ type: "object", patternProperties: { a: {} } }, /patternProperties/],
    [false, /false is satisfied by nothing/],
    [[], /a schema is an object/],
  ]
  test.each(cases)("%j", (schema, message) => {
    expect(() => grammarOf(json(schema), true)).toThrow(message)
    expect(() => grammarOf(json(schema), true)).toThrow(SchemaError)
  })

  test("nesting and size have limits, and hostile schemas end in time", () => {
    let deep: object = { type: "string" }
    for (let i = 0; i < 500; i++) deep = { type: "array", items: deep }
    expect(() => grammarOf(json(deep), true)).toThrow(/nested too deeply/)
    const wide = object(Object.fromEntries(Array.from({ length: 30_000 }, (_, i) => [`k${i}`, {}])))
    expect(() => grammarOf(json(wide), true)).toThrow(/too large/)
    const names = Array.from({ length: 100_000 }, (_, i) => `value ${i}`)
    grammarOf(json({ enum: names }), true)
    const [[, words]] = all as [[string, Words]]
    expect(
      allows(words, json({ type: "string", pattern: "^(a+)+$" }), `"${"a".repeat(200)}b"`),
    ).toBe(false)
  })
})
