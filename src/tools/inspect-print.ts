/** The reports of `inspect` as text. */
import type { GgufFile } from "../gguf/types.ts"
import type { MemoryReport } from "./inspect-memory.ts"
import type { MetadataEntry, ModelReport } from "./inspect-model.ts"

/** The two colours that reports use; `Io`'s colours are such an object. */
export interface Paint {
  bold(text: string): string
  dim(text: string): string
}

const FAMILY_NAMES: Record<string, string> = {
  expertGateUp: "routed experts, gate and up",
  expertDown: "routed experts, down",
  sharedExpert: "shared expert",
  attention: "attention projections",
  output: "output head",
  embedding: "token embedding",
  hyperConnection: "hyper-connections",
  router: "router",
  compressor: "compressors",
  indexer: "indexer",
  vector: "norms, biases, sinks",
  hashTable: "hash tables",
}

const SHAPES: Record<ModelReport["shape"], string> = {
  "full model": "full model: DeepSeek V4 Flash",
  mini: "mini: the small trained model for trying things out",
  "other shape": "other shape: consistent, so it runs",
}

export function modelText(r: ModelReport, paint: Paint): string {
  const c = r.config
  const layersOf = (ratio: number) => c.compressRatios.filter((x) => x === ratio).length
  const sameBytes = r.bytesPerToken.short === r.bytesPerToken.long
  const facts: [string, string][] = [
    ["model", printable(r.name)],
    ["file", `${r.file}, ${size(r.bytes)}`],
    ["shape", SHAPES[r.shape]],
    [
      "layers",
      `${c.nLayers}: ${layersOf(0)} with a window only, ${layersOf(4)} at ratio 4, ` +
        `${layersOf(128)} at ratio 128; the first ${c.nHashLayers} route by token`,
    ],
    ["width", `${c.dim} in ${c.hcMult} streams, ${c.nHeads} heads of ${c.headDim}`],
    ["experts", `${c.nExperts}, of which a token uses ${c.nExpertsUsed} and the shared one`],
    ["vocabulary", `${count(c.vocabSize)} tokens`],
    ["context", `up to ${count(c.contextLength)} tokens`],
    ["recipe", recipeText(r)],
    ["parameters", `${short(r.parameters.total)}, ${short(r.parameters.active)} for one token`],
    [
      "read per token",
      sameBytes
        ? size(r.bytesPerToken.long)
        : `${size(r.bytesPerToken.short)} of weights, from position ` +
          `${count(r.bytesPerToken.indexedFrom)} on ${size(r.bytesPerToken.long)}`,
    ],
  ]
  if (r.extraTensors.length > 0)
    facts.push([
      "not used",
      `${r.extraTensors.length} tensors, for example ${printable(r.extraTensors[0]!)}`,
    ])
  const rows = r.families.map((f) => [
    FAMILY_NAMES[f.family] ?? f.family,
    f.type,
    String(f.tensors),
    short(f.parameters),
    size(f.bytes),
  ])
  return [
    list(facts, paint),
    "",
    table(["family", "type", "tensors", "values", "bytes"], rows, paint),
    "",
    paint.bold("metadata"),
    list(
      Object.entries(r.metadata).map(([key, entry]) => [key, entryText(entry)]),
      paint,
    ),
  ].join("\n")
}

function recipeText({ recipe }: ModelReport): string {
  if (!recipe) return "none that ds4 knows"
  const n = recipe.others.length
  if (n === 0) return recipe.name
  const first = recipe.others[0]!
  return `${recipe.name}, but for ${n} tensors (${first.name} is ${first.type})`
}

export function memoryText(m: MemoryReport, paint: Paint): string {
  const rows = [
    ["KV pages", `${count(m.pages.count)} × ${size(m.pages.bytesEach)}`, size(m.pages.bytes)],
    [
      "resume points",
      `about ${count(m.resumePoints.count)} × ${size(m.resumePoints.bytesEach)}`,
      size(m.resumePoints.bytes),
    ],
    [
      "rings",
      `window ${size(m.rings.window)}, unfinished blocks ${size(m.rings.frontier)}`,
      size(m.rings.bytes),
    ],
    ["page table", "", size(m.pageTable)],
    ["scratch", `steps of ${m.scratch.rows} tokens`, size(m.scratch.bytes)],
    ["together", "", size(m.total)],
    ["weights", m.machine.weightsFit ? "mapped" : "mapped, more than memory", size(m.weights)],
  ]
  const { available, fits, weightsFit, largestContext } = m.machine
  const verdict = fits
    ? `It fits: ${size(available)} are left beside the weights`
    : `It does not fit: ${size(available)} are left beside the weights`
  const most = `; the largest context that fits is ${count(largestContext)} tokens.`
  const slow = weightsFit
    ? ""
    : "\nThe weights do not fit in memory: they are read from disk over and over."
  return [
    paint.bold(`memory at a context of ${count(m.context)} tokens`),
    table(["", "", "bytes"], rows, paint),
    `Decoding at its end reads ${size(m.readPerToken)} of KV memory per token.`,
    `${verdict}${most}${slow}`,
  ].join("\n")
}

export function tensorText(file: GgufFile, paint: Paint): string {
  const rows = [...file.tensors.values()].map((t) => [
    printable(t.name),
    t.type,
    `[${t.dims.join(", ")}]`,
    String(t.offset),
    String(t.bytes),
  ])
  return table(["tensor", "type", "shape", "offset", "bytes"], rows, paint)
}

function entryText(entry: MetadataEntry): string {
  if ("value" in entry) return cut(printable(String(shortest(entry.type, entry.value))), 100)
  const shown = entry.first.map((v) =>
    typeof v === "string" ? JSON.stringify(v) : String(shortest(entry.elem, v)),
  )
  const more = entry.count > shown.length ? ", …" : ""
  return cut(printable(`${count(entry.count)} ${entry.elem}: [${shown.join(", ")}${more}]`), 100)
}

/** An f32 with the digits that it has, not those of the f64 it became. */
const shortest = (type: string, value: string | number | boolean) =>
  type === "f32" && typeof value === "number" ? Number(value.toPrecision(7)) : value

/** Control characters of a file must not reach the terminal. */
// oxlint-disable-next-line no-control-regex
const printable = (text: string) => text.replace(/[\x00-\x1f\x7f-\x9f]/g, "·")

const cut = (text: string, width: number) =>
  text.length <= width ? text : `${text.slice(0, width - 1)}…`

/** Lines of "name   value". */
function list(facts: readonly (readonly [string, string])[], paint: Paint): string {
  const width = Math.max(...facts.map(([name]) => name.length))
  return facts.map(([name, value]) => `${paint.dim(name.padEnd(width))}  ${value}`).join("\n")
}

/** Columns; those after the first that hold numbers only are aligned to the right. */
export function table(head: readonly string[], rows: readonly string[][], paint: Paint): string {
  const widths = head.map((h, i) => Math.max(h.length, ...rows.map((r) => r[i]!.length)))
  const numeric = head.map(
    (_, i) => i > 0 && rows.every((r) => /^[\d.,]+( ?[kMGBT]?B?)?$|^$/.test(r[i]!)),
  )
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (numeric[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join("  ")
      .trimEnd()
  const top = head.every((h) => h === "") ? [] : [paint.dim(line(head))]
  return [...top, ...rows.map(line)].join("\n")
}

/** Bytes as people write them: 1,024 bytes are 1.0 kB on no disk, so decimal units. */
export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  return scaled(bytes, ["kB", "MB", "GB", "TB"])
}

const short = (n: number) =>
  n < 1000 ? String(n) : scaled(n, ["k", "M", "B", "T"]).replace(" ", "")

function scaled(n: number, units: readonly string[]): string {
  let unit = -1
  while (n >= 999.5 && unit + 1 < units.length) {
    n /= 1000
    unit++
  }
  return `${n.toPrecision(3)} ${units[unit]}`
}

export const count = (n: number) => n.toLocaleString("en-US")
