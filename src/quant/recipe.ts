import type { GgmlType } from "../gguf/types.ts"

/** Tensors that a recipe treats alike. The asymmetry is the point: routed experts are 97 % of the
 *  weights and stand two bits, what every token passes through keeps eight or sixteen. */
export type Family =
  | "expertGateUp"
  | "expertDown"
  | "sharedExpert"
  | "attention"
  | "output"
  | "embedding"
  | "hyperConnection"
  | "router"
  | "compressor"
  | "indexer"
  | "vector"
  | "hashTable"

export type RecipeName = "q2" | "q4" | "mxfp4" | "q8" | "f16"

const families: [RegExp, Family][] = [
  [/^token_embd\.weight$/, "embedding"],
  [/^output\.weight$/, "output"],
  [/(^|\.)ffn_(gate|up)_exps\.weight$/, "expertGateUp"],
  [/(^|\.)ffn_down_exps\.weight$/, "expertDown"],
  [/(^|\.)ffn_(gate|up|down)_shexp\.weight$/, "sharedExpert"],
  [/^(blk|mtp)\.\d+\.attn_(q_a|q_b|kv|output_a|output_b)\.weight$/, "attention"],
  [/^mtp\.\d+\.(e|h)_proj\.weight$/, "attention"],
  [/(^|[._])hc_(attn_|ffn_|head_)?fn\.weight$/, "hyperConnection"],
  [/(^|\.)ffn_gate_inp\.weight$/, "router"],
  [/(^|\.)attn_compressor_(kv|gate|ape)\.weight$/, "compressor"],
  [/(^|\.)indexer(\.attn_q_b|\.proj|_compressor_(kv|gate|ape))\.weight$/, "indexer"],
  [/(^|\.)ffn_gate_tid2eid\.weight$/, "hashTable"],
  [/(norm|_scale|_base|attn_sinks)\.weight$/, "vector"],
  [/(^|\.)exp_probs_b\.bias$/, "vector"],
]

/** The family of a tensor by its GGUF name (spec §3), or undefined for a foreign name. */
export function familyOf(name: string): Family | undefined {
  return families.find(([pattern]) => pattern.test(name))?.[1]
}

const common = {
  sharedExpert: "Q8_0",
  attention: "Q8_0",
  output: "Q8_0",
  embedding: "F16",
  hyperConnection: "F16",
  router: "F16",
  compressor: "F16",
  indexer: "F16",
  vector: "F32",
  hashTable: "I32",
} as const

/** Types by family of the published files (q2, q4, mxfp4) and of ds4-mini (q8, f16). Spec §3. */
export const RECIPES: Readonly<Record<RecipeName, Readonly<Record<Family, GgmlType>>>> = {
  q2: { ...common, expertGateUp: "IQ2_XXS", expertDown: "Q2_K" },
  q4: { ...common, expertGateUp: "Q4_K", expertDown: "Q4_K" },
  mxfp4: { ...common, expertGateUp: "MXFP4", expertDown: "MXFP4" },
  q8: { ...common, expertGateUp: "Q8_0", expertDown: "Q8_0" },
  f16: {
    ...common,
    expertGateUp: "F16",
    expertDown: "F16",
    sharedExpert: "F16",
    attention: "F16",
    output: "F16",
  },
}

/** The type that a recipe gives a tensor, or undefined for a foreign name. */
export function recipeType(recipe: RecipeName, name: string): GgmlType | undefined {
  const family = familyOf(name)
  return family && RECIPES[recipe][family]
}

export interface RecipeMatch {
  recipe: RecipeName
  /** Tensors that have another type than the recipe's; the mixed q2-q4 files have 18. */
  others: { name: string; type: GgmlType; expected: GgmlType }[]
}

/** The recipe that most tensors follow, or undefined if even the best one explains less than half
 *  of the routed experts. */
export function matchRecipe(
  tensors: Iterable<{ name: string; type: GgmlType }>,
): RecipeMatch | undefined {
  const all = [...tensors]
  let best: RecipeMatch | undefined
  for (const recipe of Object.keys(RECIPES) as RecipeName[]) {
    const others: RecipeMatch["others"] = []
    for (const { name, type } of all) {
      const expected = recipeType(recipe, name)
      if (expected && expected !== type) others.push({ name, type, expected })
    }
    if (!best || others.length < best.others.length) best = { recipe, others }
  }
  const experts = all.filter(({ name }) => familyOf(name)?.startsWith("expert")).length
  const wrong = best?.others.filter(({ name }) => familyOf(name)?.startsWith("expert")).length ?? 0
  return experts > 0 && wrong * 2 <= experts ? best : undefined
}
