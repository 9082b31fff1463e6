import { describe, expect, test } from "bun:test"
import type { GgmlType } from "../../src/gguf/types.ts"
import { familyOf, matchRecipe, recipeType } from "../../src/quant/recipe.ts"

const experts = (n: number): string[] =>
  ["gate", "up", "down"].map((part) => `blk.${n}.ffn_${part}_exps.weight`)

describe("recipe", () => {
  test("familyOf() knows the names of spec §3 and no others", () => {
    expect(familyOf("token_embd.weight")).toBe("embedding")
    expect(familyOf("output_hc_fn.weight")).toBe("hyperConnection")
    expect(familyOf("output_hc_base.weight")).toBe("vector")
    expect(familyOf("output_norm.weight")).toBe("vector")
    expect(familyOf("blk.7.hc_attn_fn.weight")).toBe("hyperConnection")
    expect(familyOf("blk.7.attn_q_a_norm.weight")).toBe("vector")
    expect(familyOf("blk.7.attn_kv.weight")).toBe("attention")
    expect(familyOf("blk.7.indexer_compressor_norm.weight")).toBe("vector")
    expect(familyOf("blk.7.indexer.proj.weight")).toBe("indexer")
    expect(familyOf("blk.7.indexer.attn_q_b.weight")).toBe("indexer")
    expect(familyOf("blk.7.exp_probs_b.bias")).toBe("vector")
    expect(familyOf("mtp.0.hc_head_fn.weight")).toBe("hyperConnection")
    expect(familyOf("mtp.0.enorm.weight")).toBe("vector")
    expect(familyOf("blk.0.ffn_gate.weight")).toBeUndefined()
  })

  test("matchRecipe() names the recipe and lists what differs, as in the mixed q2-q4 files", () => {
    const tensors = Array.from({ length: 43 }, (_, n) => experts(n)).flat()
    const q2 = tensors.map((name) => ({ name, type: recipeType("q2", name)! }))
    expect(matchRecipe(q2)).toEqual({ recipe: "q2", others: [] })
    const last = q2.map((t) =>
      /^blk\.(3[789]|4\d)\./.test(t.name) ? { ...t, type: "Q4_K" as GgmlType } : t,
    )
    const mixed = matchRecipe(last)
    expect(mixed?.recipe).toBe("q2")
    expect(mixed?.others).toHaveLength(18)
    expect(mixed?.others[0]?.expected).toBe("IQ2_XXS")
  })

  test("matchRecipe() names nothing for other mixes and for files without experts", () => {
    expect(matchRecipe(experts(0).map((name) => ({ name, type: "BF16" })))).toBeUndefined()
    expect(matchRecipe([{ name: "output.weight", type: "Q8_0" }])).toBeUndefined()
  })
})
