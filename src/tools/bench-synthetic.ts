/** A model of random weights with the full model's layers, but few of them: what `--synthetic` runs.
 *  Written once into the cache; speed does not depend on what weights mean. */
import { existsSync, mkdirSync, statfsSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { type Io, ProgressLine } from "../cli/io.ts"
import { cacheDirectory } from "../cli/paths.ts"
import { CliError } from "../errors.ts"
import { readGguf } from "../gguf/reader.ts"
import { GgufWriter } from "../gguf/writer.ts"
import { Random, randomTensor } from "./synthetic-data.ts"
import { FULL_SHAPE, ratioOf, tensorSpecs, type TensorSpec, typeOf } from "./synthetic-shape.ts"
import { syntheticModel } from "./synthetic.ts"
import { size } from "./inspect-print.ts"

/** `full:3:64`: three layers with 64 experts each. */
export interface SyntheticShape {
  nLayers: number
  nExperts: number
}

/** Layers that show every kind: window only, ratio 4, ratio 128. */
const MIN_LAYERS = 3
const RECIPE = "q2"
/** Disk that is left alone. */
const SPARE_BYTES = 2 ** 30

/** Reads `full:LAYERS` or `full:LAYERS:EXPERTS`. @throws CliError */
export function parseShape(text: string): SyntheticShape {
  const [, layers = "", experts = "256"] = text.match(/^full:(\d{1,3})(?::(\d{1,3}))?$/) ?? []
  const shape = { nLayers: Number(layers), nExperts: Number(experts) }
  const fits =
    shape.nLayers >= MIN_LAYERS &&
    shape.nLayers < FULL_SHAPE.nLayers &&
    shape.nExperts >= FULL_SHAPE.nExpertsUsed &&
    shape.nExperts <= FULL_SHAPE.nExperts
  if (fits) return shape
  throw new CliError(
    `--synthetic is "${text}": expected full:LAYERS or full:LAYERS:EXPERTS, with ${MIN_LAYERS} to ` +
      `${FULL_SHAPE.nLayers - 1} layers and ${FULL_SHAPE.nExpertsUsed} to ${FULL_SHAPE.nExperts} experts`,
  )
}

/** The path of the model, which is written if it is not there. @throws CliError without the room. */
export function ensureSynthetic(shape: SyntheticShape, io: Io): string {
  const cache = join(cacheDirectory(), "synthetic")
  const path = join(cache, `full-${shape.nLayers}x${shape.nExperts}-${RECIPE}.gguf`)
  const progress = new ProgressLine(io)
  let done = 0
  const writer = syntheticWriter(shape, (bytes) => {
    done += bytes
    progress.show(`Writing ${path}, ${size(done)} of ${size(total)}`)
  })
  const { size: total } = writer.layout()
  if (existsSync(path) && statSync(path).size === total) return path
  mkdirSync(cache, { recursive: true })
  checkRoom(path, total)
  io.err(`Writing a synthetic model of ${size(total)} (once): ${path}\n`)
  writer.toFile(path)
  progress.clear()
  return path
}

function checkRoom(path: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(dirname(path))
  const free = bavail * bsize
  if (free >= bytes + SPARE_BYTES) return
  throw new CliError(
    `Cannot write ${path}: it takes ${size(bytes)}, ${size(free)} are free; fewer experts take ` +
      "less (--synthetic full:3:32), XDG_CACHE_HOME names another disk",
  )
}

/** The model: layers 0, 2, 3 … of the full one, so that three show every kind. `onBytes` hears of
 *  every piece that is written. */
export function syntheticWriter(s: SyntheticShape, onBytes: (bytes: number) => void): GgufWriter {
  const shape = { ...FULL_SHAPE, nLayers: s.nLayers + 1, nExperts: s.nExperts }
  const writer = new GgufWriter()
  copyHeader(writer, syntheticModel({ shape, recipe: RECIPE, sparse: true }), s.nLayers)
  for (const spec of tensorSpecs(shape)) {
    const name = renumbered(spec.name)
    if (name === null) continue
    const type = typeOf(RECIPE, spec)
    writer.tensor(name, type, spec.dims, () => counted(spec, onBytes))
  }
  return writer
}

function* counted(spec: TensorSpec, onBytes: (bytes: number) => void): Iterable<Uint8Array> {
  const random = new Random(1, spec.name)
  for (const piece of randomTensor(random, typeOf(RECIPE, spec), spec.dims, spec.fill)) {
    yield piece
    onBytes(piece.byteLength)
  }
}

/** Layer 1 is left out, the later ones move up. */
const LEFT_OUT = 1

function renumbered(name: string): string | null {
  const layer = name.match(/^blk\.(\d+)\./)?.[1]
  if (layer === undefined || Number(layer) < LEFT_OUT) return name
  if (Number(layer) === LEFT_OUT) return null
  return name.replace(/^blk\.\d+/, `blk.${Number(layer) - 1}`)
}

/** Keys of the model with one layer more, but for those that speak of layers. */
function copyHeader(writer: GgufWriter, from: GgufWriter, nLayers: number): void {
  const { header, size: bytes } = from.layout()
  const { metadata } = readGguf({
    name: "synthetic",
    size: bytes,
    bytes: (offset, length) => header.subarray(offset, offset + length),
    address: () => 0,
    close() {},
  })
  const ratios = Array.from({ length: nLayers }, (_, l) => ratioOf(l < LEFT_OUT ? l : l + 1))
  const limits = ratios.map(() => FULL_SHAPE.swigluLimit)
  const own = ["block_count", "hash_layer_count", "attention.compress_ratios"]
  const isOwn = (key: string) =>
    own.some((k) => key === `deepseek4.${k}`) || key.startsWith("deepseek4.swiglu_clamp")
  writer
    .copyKeys([...metadata].filter(([key]) => !isOwn(key)))
    .set("deepseek4.block_count", "u32", nLayers)
    .set("deepseek4.hash_layer_count", "u32", FULL_SHAPE.nHashLayers - 1)
    .setArray("deepseek4.attention.compress_ratios", "u32", ratios)
    .setArray("deepseek4.swiglu_clamp_exp", "f32", limits)
    .setArray("deepseek4.swiglu_clamp_shexp", "f32", limits)
}
