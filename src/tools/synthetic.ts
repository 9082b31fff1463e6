import { tensorBytes } from "../gguf/types.ts"
import type { ScalarType, ScalarValue } from "../gguf/types.ts"
import { GgufWriter } from "../gguf/writer.ts"
import type { RecipeName } from "../quant/recipe.ts"
import { Random, randomTensor } from "./synthetic-data.ts"
import { ratioOf, tensorSpecs, TINY_SHAPE, typeOf } from "./synthetic-shape.ts"
import type { ModelShape } from "./synthetic-shape.ts"
import { smallVocabulary } from "./synthetic-vocab.ts"
import type { Vocabulary } from "./synthetic-vocab.ts"

export interface SyntheticOptions {
  shape?: ModelShape
  recipe?: RecipeName
  seed?: number
  /** By default bytes, a dozen merges and the control tokens. */
  vocabulary?: Vocabulary
  /** Leave the matrices out, so that a file of full size takes no space; vectors and hash tables
   *  are written, since a loader looks into them. */
  sparse?: boolean
}

/** A model of random weights with all keys of spec §2.3: valid to the last byte, and with
 *  activations of order one (spec §21). Finish with `toBytes()` or `toFile()`. */
export function syntheticModel(options: SyntheticOptions = {}): GgufWriter {
  const { shape = TINY_SHAPE, recipe = "q2", seed = 1, sparse = false } = options
  const writer = new GgufWriter()
  setHeader(writer, shape, recipe)
  setVocabulary(writer, options.vocabulary ?? smallVocabulary(shape.vocabSize))
  for (const spec of tensorSpecs(shape)) {
    const type = typeOf(recipe, spec)
    const kept = !sparse || spec.family === "vector" || spec.family === "hashTable"
    const random = () => new Random(seed, spec.name)
    const data = () => randomTensor(random(), type, spec.dims, spec.fill)
    writer.tensor(spec.name, type, spec.dims, kept ? data : undefined)
  }
  return writer
}

/** A tiny model as bytes, for tests in one process. */
export function tinyModel(options: SyntheticOptions = {}): Uint8Array<ArrayBuffer> {
  return syntheticModel(options).toBytes()
}

/** Bytes of all tensors of a shape, without padding. */
export function modelBytes(shape: ModelShape, recipe: RecipeName): number {
  return tensorSpecs(shape).reduce((sum, t) => sum + tensorBytes(typeOf(recipe, t), t.dims), 0)
}

function setHeader(writer: GgufWriter, s: ModelShape, recipe: RecipeName): void {
  writer
    .set("general.architecture", "str", "deepseek4")
    .set("general.name", "str", `ds4 synthetic ${recipe}: random weights, no model`)
    .set("general.license", "str", "mit")
    .set("general.size_label", "str", `${s.nExperts}x${s.nLayers} layers`)
    .set("general.alignment", "u32", 32)
    .set("general.quantization_version", "u32", 2)
    .set("general.file_type", "u32", FILE_TYPES[recipe])
    .set("general.sampling.temp", "f32", 1)
    .set("general.sampling.top_p", "f32", 1)
  for (const [key, type, value] of modelKeys(s)) writer.set(`deepseek4.${key}`, type, value)
  const ratios = Array.from({ length: s.nLayers }, (_, layer) => ratioOf(layer))
  const limits = ratios.map(() => s.swigluLimit)
  // One entry more than layers: the last belongs to the draft layer of another file.
  writer.setArray("deepseek4.attention.compress_ratios", "u32", [...ratios, 0])
  writer.setArray("deepseek4.swiglu_clamp_exp", "f32", limits)
  writer.setArray("deepseek4.swiglu_clamp_shexp", "f32", limits)
}

// llama.cpp's numbers for "mostly this type", which readers show and nobody obeys.
const FILE_TYPES: Record<RecipeName, number> = { q2: 19, q4: 15, mxfp4: 38, q8: 7, f16: 1 }

function modelKeys(s: ModelShape): [string, ScalarType, ScalarValue][] {
  return [
    ["block_count", "u32", s.nLayers],
    ["context_length", "u32", s.contextLength],
    ["embedding_length", "u32", s.dim],
    ["vocab_size", "u32", s.vocabSize],
    ["attention.head_count", "u32", s.nHeads],
    ["attention.head_count_kv", "u32", 1],
    ["attention.key_length", "u32", s.headDim],
    ["attention.value_length", "u32", s.headDim],
    ["rope.dimension_count", "u32", s.ropeDim],
    ["attention.q_lora_rank", "u32", s.qLoraRank],
    ["attention.output_lora_rank", "u32", s.oLoraRank],
    ["attention.output_group_count", "u32", s.oGroups],
    ["expert_count", "u32", s.nExperts],
    ["expert_used_count", "u32", s.nExpertsUsed],
    ["expert_feed_forward_length", "u32", s.expertDim],
    ["expert_shared_count", "u32", 1],
    ["hash_layer_count", "u32", s.nHashLayers],
    ["expert_group_count", "u32", 0],
    ["expert_group_used_count", "u32", 0],
    ["attention.sliding_window", "u32", s.window],
    ["attention.indexer.head_count", "u32", s.indexHeads],
    ["attention.indexer.key_length", "u32", s.indexHeadDim],
    ["attention.indexer.top_k", "u32", s.indexTopK],
    ["hyper_connection.count", "u32", s.hcMult],
    ["hyper_connection.sinkhorn_iterations", "u32", 20],
    ["hyper_connection.epsilon", "f32", 1e-6],
    ["rope.scaling.type", "str", "yarn"],
    ["rope.scaling.original_context_length", "u32", s.yarnOriginal],
    ["rope.scaling.factor", "f32", 16],
    ["rope.scaling.yarn_beta_fast", "f32", 32],
    ["rope.scaling.yarn_beta_slow", "f32", 1],
    ["rope.freq_base", "f32", 10_000],
    ["attention.compress_rope_freq_base", "f32", 160_000],
    ["expert_weights_scale", "f32", 1.5],
    ["expert_weights_norm", "bool", true],
    ["expert_gating_func", "u32", 4],
    ["attention.layer_norm_rms_epsilon", "f32", 1e-6],
    ["nextn_predict_layers", "u32", 1],
  ]
}

function setVocabulary(writer: GgufWriter, vocabulary: Vocabulary): void {
  writer
    .set("tokenizer.ggml.model", "str", "gpt2")
    .set("tokenizer.ggml.pre", "str", "joyai-llm")
    .setArray("tokenizer.ggml.tokens", "str", vocabulary.tokens)
    .setArray("tokenizer.ggml.token_type", "i32", vocabulary.types)
    .setArray("tokenizer.ggml.merges", "str", vocabulary.merges)
    .set("tokenizer.ggml.bos_token_id", "u32", 0)
    .set("tokenizer.ggml.eos_token_id", "u32", 1)
    .set("tokenizer.ggml.padding_token_id", "u32", 2)
    .set("tokenizer.ggml.add_bos_token", "bool", false)
    .set("tokenizer.chat_template", "str", "{{ 'not used: ds4 renders chats itself' }}")
}
