import { describe, expect, test } from "bun:test"
import { readGguf } from "../../src/gguf/reader.ts"
import { bytesSource } from "../../src/gguf/source.ts"
import { dequantize } from "../../src/quant/decode.ts"
import { matchRecipe, RECIPES } from "../../src/quant/recipe.ts"
import type { RecipeName } from "../../src/quant/recipe.ts"
import { FULL_SHAPE, TINY_SHAPE } from "../../src/tools/synthetic-shape.ts"
import { smallVocabulary } from "../../src/tools/synthetic-vocab.ts"
import { modelBytes, syntheticModel, tinyModel } from "../../src/tools/synthetic.ts"

const small = { ...TINY_SHAPE, nLayers: 4, nExperts: 6, nExpertsUsed: 2 }

describe("syntheticModel()", () => {
  test("the full shape has the tensors and bytes of spec §3", () => {
    expect(modelBytes(FULL_SHAPE, "q2") / 1e9).toBeCloseTo(86.71, 2)
    expect(modelBytes(FULL_SHAPE, "q4") / 1e9).toBeCloseTo(164.63, 2)
    const { tensors } = syntheticModel({ shape: FULL_SHAPE, sparse: true }).layout()
    const counts: Record<string, number> = {}
    for (const { type } of tensors) counts[type] = (counts[type] ?? 0) + 1
    expect(counts).toEqual({ IQ2_XXS: 86, Q2_K: 43, Q8_0: 345, F16: 359, F32: 492, I32: 3 })
  })

  for (const recipe of Object.keys(RECIPES) as RecipeName[]) {
    test(`${recipe}: every tensor is finite and as wide as its inputs want`, () => {
      const file = readGguf(bytesSource(tinyModel({ shape: small, recipe }), recipe))
      expect(matchRecipe(file.tensors.values())).toEqual({ recipe, others: [] })
      for (const { name, type, dims, offset, bytes } of file.tensors.values()) {
        if (!name.endsWith(".weight") || type === "I32" || /norm|scale|base|ape|sinks/.test(name))
          continue
        const values = new Float32Array(dims.reduce((a, b) => a * b))
        dequantize(type, file.source.bytes(offset, bytes), values)
        let sum = 0
        for (const v of values) sum += v * v
        const std = Math.sqrt(sum / values.length)
        const expected = name === "token_embd.weight" ? 1 : 1 / Math.sqrt(dims[0]!)
        // MXFP4 has powers of two only.
        const [low, high] = type === "MXFP4" ? [0.5, 2] : [0.85, 1.15]
        expect([name, std / expected > low && std / expected < high]).toEqual([name, true])
      }
    })
  }

  test("hash tables hold distinct experts for every token", () => {
    const file = readGguf(bytesSource(tinyModel({ shape: small }), "tiny"))
    const { offset, bytes } = file.tensors.get("blk.0.ffn_gate_tid2eid.weight")!
    const ids = new Int32Array(file.source.bytes(offset, bytes).slice().buffer)
    for (let i = 0; i < ids.length; i += 2) {
      expect(ids[i] !== ids[i + 1]).toBe(true)
      expect(Math.max(ids[i]!, ids[i + 1]!)).toBeLessThan(small.nExperts)
    }
  })

  test("the same seed gives the same bytes, another seed others", () => {
    const hash = (seed: number) => Bun.hash(tinyModel({ shape: small, seed }))
    expect(hash(1)).toBe(hash(1))
    expect(hash(1)).not.toBe(hash(2))
  })

  test("the small vocabulary has 256 bytes, unique tokens and its merges' products", () => {
    const { tokens, types, merges } = smallVocabulary(512)
    expect(new Set(tokens).size).toBe(512)
    expect(types).toHaveLength(512)
    for (const merge of merges) {
      const [left = "", right = ""] = merge.split(" ")
      for (const token of [left, right, left + right]) expect(tokens).toContain(token)
    }
    const full = smallVocabulary(FULL_SHAPE.vocabSize)
    expect(full.tokens[128_804]).toBe("<｜Assistant｜>")
    expect(new Set(full.tokens).size).toBe(FULL_SHAPE.vocabSize)
    expect(() => smallVocabulary(256)).toThrow("bytes and control tokens need")
  })
})
