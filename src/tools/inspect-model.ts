/** What a model file is, as plain data: read from its header and its directory, and checked as if it
 *  were to be run. Of the weights only the small vectors are looked at. */
import { GgufError } from "../errors.ts"
import { lazyArray } from "../gguf/metadata.ts"
import type { GgmlType, GgufArray, GgufFile, GgufValue, TensorInfo } from "../gguf/types.ts"
import { type Config, readConfig, type ShapeName, shapeName } from "../model/config.ts"
import { bindWeights, weightBytesPerToken, type Weights } from "../model/weights.ts"
import type { DeviceBuffer } from "../ops/tensor.ts"
import { type Family, familyOf, matchRecipe, type RecipeName } from "../quant/recipe.ts"

export interface ModelReport {
  file: string
  bytes: number
  name: string
  shape: ShapeName
  config: Config
  recipe: RecipeReport | null
  families: FamilyReport[]
  parameters: {
    total: number
    /** Of one token: everything but the embedding table and the experts that are not chosen. */
    active: number
  }
  /** Bytes of weights that decoding one token reads. */
  bytesPerToken: {
    /** While every row that the indexer could choose from is visible anyway. */
    short: number
    /** From the position on where it must choose. */
    long: number
    indexedFrom: number
  }
  /** Tensors that the model does not use. */
  extraTensors: string[]
  metadata: Record<string, MetadataEntry>
}

export interface RecipeReport {
  name: RecipeName
  /** Tensors of another type than the recipe's. */
  others: { name: string; type: GgmlType; expected: GgmlType }[]
}

export interface FamilyReport {
  family: Family | "not used"
  type: GgmlType
  tensors: number
  parameters: number
  bytes: number
}

/** A metadata value; of an array the first elements. */
export type MetadataEntry =
  | { type: string; value: string | number | boolean }
  | { type: "arr"; elem: string; count: number; first: (string | number | boolean)[] }

/** Elements of an array that are shown. */
const SHOWN_ELEMENTS = 8

/** Reads and checks a file. @throws GgufError saying why this file cannot be run. */
export function inspectModel(file: GgufFile): ModelReport {
  const config = readConfig(file.metadata)
  const { weights, extra } = bindWeights(file, mappedBuffer(file), config)
  checkVocabulary(file, config)
  const used = [...file.tensors.values()].filter((t) => !extra.includes(t.name))
  const match = matchRecipe(used)
  const long = weightBytesPerToken(weights, config)
  return {
    file: file.source.name,
    bytes: file.source.size,
    name: file.metadata.maybeStr("general.name") ?? "unnamed",
    shape: shapeName(config),
    config,
    recipe: match ? { name: match.recipe, others: match.others } : null,
    families: familyReports(file, new Set(extra)),
    parameters: countParameters(used, config),
    bytesPerToken: {
      short: long - indexerQueryBytes(weights),
      long,
      indexedFrom: 4 * config.indexTopK + 3,
    },
    extraTensors: extra,
    metadata: Object.fromEntries([...file.metadata].map(([k, v]) => [k, entryOf(file, k, v)])),
  }
}

/** A file as the memory of a backend that only looks. */
export function mappedBuffer({ source }: GgufFile): DeviceBuffer {
  return {
    address: 0,
    bytes: source.size,
    bytesAt: (offset, length) => source.bytes(offset, length),
  }
}

/** What a tokenizer would refuse, without making one. */
function checkVocabulary({ metadata }: GgufFile, c: Config): void {
  const tokens = metadata.get("tokenizer.ggml.tokens")
  if (tokens?.type !== "arr" || tokens.elem !== "str")
    throw new GgufError('Key "tokenizer.ggml.tokens" is no array of str: there is no vocabulary')
  if (tokens.count > c.vocabSize)
    throw new GgufError(
      `Key "tokenizer.ggml.tokens" has ${tokens.count} tokens, the model knows ${c.vocabSize}`,
      tokens.offset,
    )
  for (const name of ["bos", "eos"]) {
    const key = `tokenizer.ggml.${name}_token_id`
    const id = metadata.maybeU32(key)
    if (id !== undefined && id >= tokens.count)
      throw new GgufError(`Key "${key}" is ${id}, the vocabulary has ${tokens.count} tokens`)
  }
}

function familyReports(file: GgufFile, extra: ReadonlySet<string>): FamilyReport[] {
  const groups = new Map<string, FamilyReport>()
  for (const t of file.tensors.values()) {
    const family = (extra.has(t.name) ? undefined : familyOf(t.name)) ?? "not used"
    const key = `${family} ${t.type}`
    const group = groups.get(key) ?? { family, type: t.type, tensors: 0, parameters: 0, bytes: 0 }
    group.tensors++
    group.parameters += elements(t)
    group.bytes += t.bytes
    groups.set(key, group)
  }
  return [...groups.values()].sort((a, b) => b.bytes - a.bytes)
}

function countParameters(tensors: readonly TensorInfo[], c: Config) {
  let total = 0
  let active = 0
  for (const t of tensors) {
    if (t.type === "I32") continue // hash tables are no weights
    const family = familyOf(t.name)
    total += elements(t)
    if (family === "embedding") active += c.dim
    else if (family === "expertGateUp" || family === "expertDown")
      active += (elements(t) / c.nExperts) * c.nExpertsUsed
    else active += elements(t)
  }
  return { total, active }
}

/** The indexer's queries are computed only where it must choose. */
function indexerQueryBytes({ layers }: Weights): number {
  return layers.reduce(
    (sum, { indexer }) => sum + (indexer ? indexer.attn_q_b.bytes + indexer.proj.bytes : 0),
    0,
  )
}

function entryOf(file: GgufFile, key: string, value: GgufValue): MetadataEntry {
  if (value.type === "arr")
    return { type: "arr", elem: value.elem, count: value.count, first: firstOf(file, key, value) }
  return { type: value.type, value: plain(value.value) }
}

/** The first elements of an array, without decoding the rest. */
function firstOf({ source }: GgufFile, key: string, array: GgufArray) {
  const count = Math.min(array.count, SHOWN_ELEMENTS)
  let bytes = (array.bytes / array.count) * count
  if (array.elem === "str") bytes = firstStringBytes(source.bytes(array.offset, array.bytes), count)
  if (count === 0) return []
  return lazyArray(source, key, { elem: array.elem, count, offset: array.offset, bytes })
    .values()
    .map(plain)
}

/** Bytes of the first `count` strings: each is a u64 length and its text. */
function firstStringBytes(data: Uint8Array, count: number): number {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  let at = 0
  for (let i = 0; i < count; i++) at += 8 + view.getUint32(at, true)
  return at
}

const plain = (value: string | number | bigint | boolean) =>
  typeof value === "bigint" ? String(value) : value

const elements = ({ dims }: TensorInfo) => dims.reduce((a, b) => a * b, 1)
