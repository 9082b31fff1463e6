import { expect, test } from "bun:test"
import { GgufError } from "../../src/errors.ts"
import { Tokenizer } from "../../src/tokenizer/index.ts"
import type { TokenizerOptions } from "../../src/tokenizer/index.ts"
import { miniArrays } from "./vocabularies.ts"

const tiny: TokenizerOptions = {
  tokens: ["<s>", "a", "b", "ab", "Ġ", "｜x｜"],
  types: [3, 1, 1, 1, 1, 4],
  merges: ["a b"],
}

test("Tokenizer takes small vocabularies and names a byte that has no token", () => {
  const tokenizer = new Tokenizer(tiny)
  expect(tokenizer.encode("ab ba")).toEqual([3, 4, 2, 1])
  expect(() => tokenizer.encode("abc")).toThrow(/tokenizer.ggml.tokens.*byte 99/)
  expect(tokenizer.bosId).toBeUndefined()
})

test("Tokenizer refuses arrays that cannot be used, by the name of the key", () => {
  const bad: [Partial<TokenizerOptions>, RegExp][] = [
    [{ merges: ["ab"] }, /"tokenizer.ggml.merges".*entry 0.*no space/],
    [{ merges: ["a b", "a "] }, /"tokenizer.ggml.merges".*entry 1/],
    [{ merges: ["a b a"] }, /"tokenizer.ggml.merges"/],
    [{ merges: [" a"] }, /"tokenizer.ggml.merges"/],
    [{ merges: [""] }, /"tokenizer.ggml.merges"/],
    [{ merges: ["a ｜"] }, /"tokenizer.ggml.merges".*byte alphabet/],
    [{ merges: ["b a"] }, /"tokenizer.ggml.merges".*"tokenizer.ggml.tokens"/],
    [{ types: [3, 1] }, /"tokenizer.ggml.token_type".*2 entries, expected 6/],
    [{ bosId: 6 }, /"tokenizer.ggml.bos_token_id".*below 6/],
    [{ eosId: -1 }, /"tokenizer.ggml.eos_token_id"/],
    [{ eosId: 1.5 }, /"tokenizer.ggml.eos_token_id"/],
    [{ tokens: ["a", 7 as unknown as string], types: [1, 1] }, /"tokenizer.ggml.tokens".*entry 1/],
  ]
  for (const [change, message] of bad) {
    const open = (): Tokenizer => new Tokenizer({ ...tiny, ...change })
    expect(open).toThrow(GgufError)
    expect(open).toThrow(message)
  }
})

test("ids outside the vocabulary are refused", () => {
  const tokenizer = new Tokenizer(tiny)
  for (const id of [-1, 6, 0.5, Number.NaN]) {
    expect(() => tokenizer.decode([id])).toThrow(/0 to 5/)
    expect(() => tokenizer.encodeSpans([id])).toThrow(/0 to 5/)
  }
})

test("a plain text never becomes an added token, not even by a merge", () => {
  const tokens = ["a", "b", "ab"]
  const open = (): Tokenizer => new Tokenizer({ tokens, types: [1, 1, 4], merges: ["a b"] })
  expect(open).toThrow(/"tokenizer.ggml.merges"/)
  const plain = new Tokenizer({ tokens, types: [1, 1, 4], merges: [] })
  expect(plain.encode("ab")).toEqual([0, 1])
  expect(plain.encodeSpecial("aab")).toEqual([0, 2])
})

test("a token that its own merges do not make is not used", () => {
  const tokens = ["a", "b", "c", "bc", "abc", "ab"]
  const merges = ["b c", "ab c", "a b"]
  const tokenizer = new Tokenizer({ tokens, types: [1, 1, 1, 1, 1, 1], merges })
  expect(tokenizer.encode("abc")).toEqual([0, 3])
})

test("the leftmost and longest added token wins", () => {
  const tokens = ["a", "b", "<a", "<a>", "<", ">", "a>b"]
  const tokenizer = new Tokenizer({ tokens, types: [1, 1, 4, 3, 1, 1, 4], merges: [] })
  expect(tokenizer.encodeSpecial("<a>b<a<")).toEqual([3, 1, 2, 4])
  expect(tokenizer.encode("<a>b")).toEqual([4, 0, 5, 1])
})

test("without types, tokens outside the byte alphabet are control tokens", () => {
  const { tokens, merges, types } = miniArrays()
  const tokenizer = new Tokenizer({ tokens, merges })
  const typed = new Tokenizer({ tokens, merges, types })
  expect(tokenizer.id("<｜User｜>")).toBe(typed.id("<｜User｜>")!)
  expect(tokenizer.encode("Hello, what is 12 + 3?")).toEqual(typed.encode("Hello, what is 12 + 3?"))
})

test("equal tokens and merges by the thousand are no trouble, and the first counts", () => {
  const tokens = ["a", "b", "ab", ...Array<string>(60_000).fill("ab")]
  const types = tokens.map(() => 1)
  const merges = Array<string>(60_000).fill("a b")
  const tokenizer = new Tokenizer({ tokens, types, merges })
  expect(tokenizer.encode("abab")).toEqual([2, 2])
})

test("lone surrogates become U+FFFD", () => {
  const mini = new Tokenizer(miniArrays())
  expect(mini.encode("a\ud800b")).toEqual(mini.encode("a\ufffdb"))
})
