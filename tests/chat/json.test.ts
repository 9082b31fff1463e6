import { expect, test } from "bun:test"
import fc from "fast-check"
import {
  JsonNumber,
  parseJson,
  printJson,
  toJson,
  toPlain,
  tryParseJson,
} from "../../src/chat/index.ts"

const again = (text: string): string => printJson(parseJson(text))

test("printJson(parseJson(text)) is what Python's json makes of it", () => {
  const cases: [string, string][] = [
    ["[1,2 , 3]", "[1, 2, 3]"],
    ['{"10":1,"2":2,"a":3}', '{"10": 1, "2": 2, "a": 3}'],
    ['{"a":1,"b":2,"a":3}', '{"a": 3, "b": 2}'],
    ['{"__proto__":{"x":1},"constructor":[]}', '{"__proto__": {"x": 1}, "constructor": []}'],
    ["1234567890123456789012", "1234567890123456789012"],
    ["-0", "0"],
    ["-0.0", "-0.0"],
    ["1.0", "1.0"],
    ["1E5", "100000.0"],
    ["1e16", "1e+16"],
    ["1e15", "1000000000000000.0"],
    ["123456789012345680000.0", "1.2345678901234568e+20"],
    ["0.0001", "0.0001"],
    ["0.00001", "1e-05"],
    ["1.5e-7", "1.5e-07"],
    ["5e-324", "5e-324"],
    ["2.50", "2.5"],
    ["0.1", "0.1"],
    ["-123.456e2", "-12345.6"],
    ["9007199254740993.0", "9007199254740992.0"],
    [
      "[NaN, Infinity, -Infinity, 1e999, -1e999]",
      "[NaN, Infinity, -Infinity, Infinity, -Infinity]",
    ],
    ['"\\u0041\\/\\u00e9\\ud83d\\ude42"', '"A/é🙂"'],
    [
      '"\\u0000\\u001f\\b\\f\\n\\r\\t\\"\\\\\\u007f\\u2028"',
      '"\\u0000\\u001f\\b\\f\\n\\r\\t\\"\\\\\u007f\u2028"',
    ],
    [" \t\r\n[ ] ", "[]"],
    ["{ }", "{}"],
    ["[true,false,null]", "[true, false, null]"],
  ]
  for (const [text, want] of cases) expect(again(text)).toBe(want)
})

test("parseJson() refuses what is no JSON, with the place", () => {
  const bad = [
    "", " ", "{", "[1,]", '{"a":1,}', "{a:1}", "'a'", '"a', '"\n"', '"\\x"', '"\\u12g4"', "01", "1.",
    ".5", "+1", "-", "1e", "nul", "[1 2]", '{"a" 1}', "1 2", "\ufeff1", "[", '{"a":', "tru", "-x",
    "\u00a01", '{"a":1 "b":2}', "]",
  ] // prettier-ignore
  for (const text of bad) {
    expect(() => parseJson(text)).toThrow(/Cannot read JSON: .* at character \d+/)
    expect(tryParseJson(text)).toBeUndefined()
  }
})

test("nesting beyond 1,000 levels is an error, not a stack overflow", () => {
  const nested = (n: number): string => "[".repeat(n) + "]".repeat(n)
  expect(again(nested(1000))).toBe(nested(1000))
  expect(() => parseJson(nested(1001))).toThrow(/1000 levels/)
  expect(() => parseJson("[".repeat(5_000_000))).toThrow(/1000 levels/)
  expect(() => parseJson('{"a":'.repeat(100_000))).toThrow(/1000 levels/)
  const cycle: unknown[] = []
  cycle.push(cycle)
  expect(() => toJson(cycle)).toThrow(/1000 levels/)
})

test("parseJson() reads so many values and no more", () => {
  expect(parseJson('{"a":[1,"x"]}', 4)).toEqual(parseJson('{"a":[1,"x"]}'))
  expect(() => parseJson('{"a":[1,"x"]}', 3)).toThrow("too many values at character 8")
})

test("long strings and arrays take linear time", () => {
  const long = `["${"é\\n".repeat(500_000)}", ${"1, ".repeat(200_000)}2]`
  expect(again(long)).toBe(long)
})

test("parseJson() agrees with JSON.parse wherever that loses nothing", () => {
  fc.assert(
    fc.property(fc.json(), fc.nat(4), (text, indent) => {
      const value: unknown = JSON.parse(text)
      expect(toPlain(parseJson(JSON.stringify(value, null, indent)))).toEqual(value)
    }),
    { seed: 161, numRuns: 2000 },
  )
})

test("parseJson() accepts and refuses what JSON.parse does", () => {
  const broken = fc
    .tuple(fc.json(), fc.nat(), fc.constantFrom("", "}", "]", ",", '"', "\\", "1", " ", "e", "-"))
    .map(([text, at, patch]) => {
      const cut = at % (text.length + 1)
      return text.slice(0, cut) + patch + text.slice(cut + 1)
    })
  fc.assert(
    fc.property(broken, (text) => {
      let want = true
      try {
        JSON.parse(text)
      } catch {
        want = false
      }
      expect(tryParseJson(text) !== undefined).toBe(want)
    }),
    { seed: 162, numRuns: 4000 },
  )
})

test("printing is stable: what was printed prints the same", () => {
  fc.assert(
    fc.property(fc.json(), fc.double(), (text, number) => {
      const once = again(text)
      expect(again(once)).toBe(once)
      if (Number.isFinite(number)) expect(Number(again(String(number)))).toBe(number + 0)
    }),
    { seed: 163, numRuns: 1000 },
  )
})

test("toJson() takes plain values, trees, and trees inside plain values", () => {
  const tree = parseJson('{"10": 1.0, "2": 12345678901234567890}')
  expect(printJson(toJson({ a: tree, b: undefined, c: [null, undefined], d: () => 1 }))).toBe(
    '{"a": {"10": 1.0, "2": 12345678901234567890}, "c": [null, null]}',
  )
  expect(printJson(toJson([1, -0, 1.5, 1e21, 2 ** 60, 10n ** 20n, Number.NaN]))).toBe(
    "[1, 0, 1.5, 1e+21, 1152921504606847000, 100000000000000000000, NaN]",
  )
  expect(toJson(undefined)).toBeNull()
  expect(toJson(7)).toEqual(new JsonNumber("7"))
})
