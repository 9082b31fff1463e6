import type { GgmlType } from "../gguf/types.ts"
import { RECIPES } from "../quant/recipe.ts"
import type { Family, RecipeName } from "../quant/recipe.ts"

/** The numbers that make a model's shape (spec §1); everything else follows from them. */
export interface ModelShape {
  readonly nLayers: number
  readonly nHashLayers: number
  readonly dim: number
  readonly expertDim: number
  readonly vocabSize: number
  readonly nHeads: number
  readonly headDim: number
  readonly ropeDim: number
  readonly qLoraRank: number
  readonly oGroups: number
  readonly oLoraRank: number
  readonly nExperts: number
  readonly nExpertsUsed: number
  readonly window: number
  readonly indexHeads: number
  readonly indexHeadDim: number
  readonly indexTopK: number
  readonly hcMult: number
  readonly contextLength: number
  readonly yarnOriginal: number
  readonly swigluLimit: number
}

/** DeepSeek V4 Flash, spec §1. */
export const FULL_SHAPE: ModelShape = {
  nLayers: 43,
  nHashLayers: 3,
  dim: 4096,
  expertDim: 2048,
  vocabSize: 129_280,
  nHeads: 64,
  headDim: 512,
  ropeDim: 64,
  qLoraRank: 1024,
  oGroups: 8,
  oLoraRank: 1024,
  nExperts: 256,
  nExpertsUsed: 6,
  window: 128,
  indexHeads: 64,
  indexHeadDim: 128,
  indexTopK: 512,
  hcMult: 4,
  contextLength: 1_048_576,
  yarnOriginal: 65_536,
  swigluLimit: 10,
}

/** The suggested test model of spec §21: every mechanism is alive within 300 tokens. */
export const TINY_SHAPE: ModelShape = {
  nLayers: 8,
  nHashLayers: 3,
  dim: 256,
  expertDim: 256,
  vocabSize: 512,
  nHeads: 8,
  headDim: 128,
  ropeDim: 64,
  qLoraRank: 64,
  oGroups: 2,
  oLoraRank: 32,
  nExperts: 16,
  nExpertsUsed: 6,
  window: 16,
  indexHeads: 4,
  indexHeadDim: 128,
  indexTopK: 8,
  hcMult: 4,
  contextLength: 65_536,
  yarnOriginal: 4096,
  swigluLimit: 10,
}

/** The compression ratio of a layer: 0, 0, 4, 128, 4, 128, … */
export function ratioOf(layer: number): 0 | 4 | 128 {
  if (layer < 2) return 0
  return layer % 2 === 0 ? 4 : 128
}

/** How a tensor of random numbers is filled so that activations stay O(1) (spec §21). */
export type Fill =
  | { kind: "normal"; std: number }
  | { kind: "uniform"; min: number; max: number }
  | { kind: "hash"; nExperts: number }

export interface TensorSpec {
  name: string
  family: Family
  dims: number[]
  fill: Fill
}

const matrix = (inputs: number): Fill => ({ kind: "normal", std: 1 / Math.sqrt(inputs) })
const normal = (std: number): Fill => ({ kind: "normal", std })
const norm: Fill = { kind: "uniform", min: 0.9, max: 1.1 }
const hcScale: Fill = { kind: "uniform", min: 0.5, max: 1 }

/** Every tensor of a model of this shape, in the order of spec §3. */
export function tensorSpecs(s: ModelShape): TensorSpec[] {
  const list: TensorSpec[] = []
  const add = (name: string, family: Family, dims: number[], fill: Fill) =>
    list.push({ name, family, dims, fill })
  const hcIn = s.hcMult * s.dim
  add("token_embd.weight", "embedding", [s.dim, s.vocabSize], normal(1))
  add("output_hc_fn.weight", "hyperConnection", [hcIn, s.hcMult], matrix(hcIn))
  add("output_hc_scale.weight", "vector", [1], hcScale)
  add("output_hc_base.weight", "vector", [s.hcMult], normal(1))
  add("output_norm.weight", "vector", [s.dim], norm)
  add("output.weight", "output", [s.dim, s.vocabSize], matrix(s.dim))
  for (let layer = 0; layer < s.nLayers; layer++) {
    const prefixed = (name: string, family: Family, dims: number[], fill: Fill) =>
      add(`blk.${layer}.${name}`, family, dims, fill)
    addAttention(prefixed, s)
    addExperts(prefixed, s, layer)
    if (ratioOf(layer) !== 0) addCompressor(prefixed, s, ratioOf(layer))
    if (ratioOf(layer) === 4) addIndexer(prefixed, s)
  }
  return list
}

type Add = (name: string, family: Family, dims: number[], fill: Fill) => void

function addAttention(add: Add, s: ModelShape): void {
  const hcIn = s.hcMult * s.dim
  const hcOut = s.hcMult * (2 + s.hcMult)
  for (const part of ["attn", "ffn"]) {
    add(`hc_${part}_fn.weight`, "hyperConnection", [hcIn, hcOut], matrix(hcIn))
    add(`hc_${part}_scale.weight`, "vector", [3], hcScale)
    add(`hc_${part}_base.weight`, "vector", [hcOut], normal(1))
    add(`${part}_norm.weight`, "vector", [s.dim], norm)
  }
  const groupIn = (s.nHeads / s.oGroups) * s.headDim
  const lowRank = s.oGroups * s.oLoraRank
  add("attn_q_a.weight", "attention", [s.dim, s.qLoraRank], matrix(s.dim))
  add("attn_q_a_norm.weight", "vector", [s.qLoraRank], norm)
  add("attn_q_b.weight", "attention", [s.qLoraRank, s.nHeads * s.headDim], matrix(s.qLoraRank))
  add("attn_kv.weight", "attention", [s.dim, s.headDim], matrix(s.dim))
  add("attn_kv_a_norm.weight", "vector", [s.headDim], norm)
  add("attn_sinks.weight", "vector", [s.nHeads], normal(1))
  add("attn_output_a.weight", "attention", [groupIn, lowRank], matrix(groupIn))
  add("attn_output_b.weight", "attention", [lowRank, s.dim], matrix(lowRank))
}

function addExperts(add: Add, s: ModelShape, layer: number): void {
  const wide = [s.dim, s.expertDim]
  const back = [s.expertDim, s.dim]
  add("ffn_gate_inp.weight", "router", [s.dim, s.nExperts], matrix(s.dim))
  for (const part of ["gate", "up"])
    add(`ffn_${part}_exps.weight`, "expertGateUp", [...wide, s.nExperts], matrix(s.dim))
  add("ffn_down_exps.weight", "expertDown", [...back, s.nExperts], matrix(s.expertDim))
  for (const part of ["gate", "up"])
    add(`ffn_${part}_shexp.weight`, "sharedExpert", wide, matrix(s.dim))
  add("ffn_down_shexp.weight", "sharedExpert", back, matrix(s.expertDim))
  if (layer >= s.nHashLayers) return add("exp_probs_b.bias", "vector", [s.nExperts], normal(0.1))
  const table = [s.nExpertsUsed, s.vocabSize]
  add("ffn_gate_tid2eid.weight", "hashTable", table, { kind: "hash", nExperts: s.nExperts })
}

function addCompressor(add: Add, s: ModelShape, ratio: number): void {
  const width = ratio === 4 ? 2 * s.headDim : s.headDim
  for (const part of ["kv", "gate"])
    add(`attn_compressor_${part}.weight`, "compressor", [s.dim, width], matrix(s.dim))
  add("attn_compressor_ape.weight", "compressor", [width, ratio], normal(1))
  add("attn_compressor_norm.weight", "vector", [s.headDim], norm)
}

function addIndexer(add: Add, s: ModelShape): void {
  const queries = s.indexHeads * s.indexHeadDim
  const width = 2 * s.indexHeadDim
  add("indexer.attn_q_b.weight", "indexer", [s.qLoraRank, queries], matrix(s.qLoraRank))
  add("indexer.proj.weight", "indexer", [s.dim, s.indexHeads], matrix(s.dim))
  for (const part of ["kv", "gate"])
    add(`indexer_compressor_${part}.weight`, "indexer", [s.dim, width], matrix(s.dim))
  add("indexer_compressor_ape.weight", "indexer", [width, 4], normal(1))
  add("indexer_compressor_norm.weight", "vector", [s.indexHeadDim], norm)
}

/** The type of a tensor by recipe. */
export function typeOf(recipe: RecipeName, spec: TensorSpec): GgmlType {
  return RECIPES[recipe][spec.family]
}
