/** `ds4 bench` on a model: CSV lines as they come, tables at the end. An interrupt ends it with what
 *  was measured until then. */
import { accessSync, constants, writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { dirname } from "node:path"
import { type Io, ProgressLine } from "../cli/io.ts"
import { engineOptions } from "../cli/models.ts"
import type { Args } from "../cli/options.ts"
import type { GgufFile } from "../gguf/types.ts"
import { type Config, shapeName } from "../model/config.ts"
import { openBackend } from "../ops/open.ts"
import { type OpenOptions, openRuntime } from "../session/open.ts"
import type { Runtime } from "../session/runtime.ts"
import { type Bandwidth, BANDWIDTH_METHOD, measureBandwidth } from "./bench-bandwidth.ts"
import { bytesPerToken } from "./bench-cost.ts"
import { CsvFile, rowOf, writing } from "./bench-csv.ts"
import { drive, Interrupt, INTERRUPTED } from "./bench-drive.ts"
import { hasFullLayers } from "./bench-layers.ts"
import { type BenchPlan, contextWanted, promptIds, randomIds } from "./bench-plan.ts"
import { extrapolationText, headText, layerText, type Measured, speedText } from "./bench-print.ts"
import { ContextBench, type Frontier, type Progress } from "./bench-run.ts"
import { benchSvg } from "./bench-svg.ts"
import { count, type Paint, size } from "./inspect-print.ts"

/** Measures a model by a plan. Returns the exit code. */
export async function measureModel(
  path: string,
  plan: BenchPlan,
  args: Args,
  io: Io,
): Promise<number> {
  const progress = new ProgressLine(io)
  const options = engineOptions(args)
  const context = contextWanted(path, plan)
  const { svg } = plan
  if (svg !== undefined) writing(svg, () => accessSync(dirname(svg), constants.W_OK))
  const csv = plan.csv === undefined ? null : new CsvFile(plan.csv, io)
  progress.show("Measuring memory")
  const bandwidth = plan.measuresBandwidth ? bandwidthOf(options) : null
  const maxRows = Math.min(plan.chunk, plan.contexts.at(-1)!)
  const runtime = openRuntime({ path }, { ...options, context, maxRows, maxOutputs: 1 })
  const stop = new Interrupt()
  const started = new Date()
  try {
    const { ids, source } = idsOf(runtime, plan)
    const measured: Measured[] = []
    for await (const frontier of frontiers(runtime, ids, plan, progress, stop)) {
      const bytes = bytesPerToken(runtime.file, runtime.model, frontier.context)
      const row = rowOf(frontier, bytes, bandwidth?.bytesPerSecond)
      measured.push({ frontier, row })
      csv?.add(row)
    }
    const facts = factsOf(runtime, { bandwidth, source, started, plan })
    const isOnStderr = plan.csv === "-"
    const text = reportText(facts, measured, runtime.config, isOnStderr ? io.errColors : io.colors)
    if (isOnStderr) io.err(text)
    else io.out(text)
    if (svg !== undefined && measured.length > 0) writeSvg(svg, measured, facts, runtime)
    if (stop.asked)
      io.err(`Stopped: ${measured.length} of ${plan.contexts.length} contexts were measured.\n`)
  } finally {
    progress.clear()
    stop.off()
    runtime.close()
  }
  return stop.asked ? INTERRUPTED : 0
}

/** What is read: ids from the text, or random ones. */
function idsOf({ file, config }: Runtime, plan: BenchPlan) {
  const n = plan.contexts.at(-1)!
  if (plan.isSynthetic)
    return { ids: randomIds(config.vocabSize, n), source: "random ids" as const }
  return promptIds(file, config.vocabSize, n, plan.text)
}

/** Opens a backend of its own for the measurement: its memory is gone before the model is opened. */
function bandwidthOf({ backend: name, ...options }: OpenOptions): Bandwidth | null {
  const backend = openBackend(name ?? "cpu", options)
  try {
    return measureBandwidth(backend)
  } finally {
    backend.close()
  }
}

/** Results of the frontiers, one after the other, until an interrupt. */
async function* frontiers(
  runtime: Runtime,
  ids: readonly number[],
  plan: BenchPlan,
  progress: ProgressLine,
  stop: Interrupt,
): AsyncGenerator<Frontier, void> {
  const bench = new ContextBench(runtime, ids)
  const show = (context: number) => (p: Progress) =>
    progress.show(`${count(context)} tokens of context: ${p.phase}, ${p.done} of ${p.total}`)
  try {
    await drive(bench.warmUp(), show(plan.contexts[0]!), stop)
    for (const context of plan.contexts) {
      const frontier = await drive(bench.measure(context, plan.genTokens), show(context), stop)
      progress.clear()
      if (!frontier) return
      yield frontier
    }
  } finally {
    bench.close()
  }
}

interface Facts {
  bandwidth: Bandwidth | null
  source: string
  started: Date
  plan: BenchPlan
}

/** Characters of a model's name that fit above the picture. */
const TITLE_LENGTH = 75

function writeSvg(path: string, measured: readonly Measured[], facts: Fact[], r: Runtime): void {
  const of = Object.fromEntries(facts)
  const text = {
    title: Bun.sliceAnsi(modelName(r.file), 0, TITLE_LENGTH),
    subtitle: `${modelFacts(r)} · ${of.machine}, ${of.backend} · ${of.date}`,
    footer: `ds4 bench: read ${of.read}; decoded ${of.decoded}`,
  }
  const rows = measured.map((m) => m.row)
  writing(path, () => writeFileSync(path, benchSvg(rows, text)))
}

const modelName = ({ metadata }: GgufFile) =>
  Bun.stripANSI(metadata.maybeStr("general.name") ?? "unnamed")

const modelFacts = ({ file, config }: Runtime) => `${size(file.source.size)}, ${shapeText(config)}`

type Fact = [name: string, value: string]

/** What one has to know of a measurement: machine, model, way of measuring. */
function factsOf(
  runtime: Runtime,
  { bandwidth, source, started, plan }: Facts,
): [string, string][] {
  const memory = bandwidth
    ? `${(bandwidth.bytesPerSecond / 1e9).toFixed(1)} GB/s (${size(bandwidth.bytes)}, ${BANDWIDTH_METHOD})`
    : "not measured"
  return [
    ["machine", machineName()],
    ["backend", runtime.backend.description],
    ["memory reads", memory],
    ["model", `${modelName(runtime.file)}, ${modelFacts(runtime)}`],
    ["read", `${source}, in steps of up to ${runtime.scratch.maxRows} tokens`],
    ["decoded", `${plan.genTokens} tokens at each context, greedily`],
    ["date", started.toISOString().slice(0, 16).replace("T", " ")],
  ]
}

/** The processor's name. */
export const machineName = (): string => cpus()[0]?.model.trim() || process.arch

/** The model's shape class, with its share of the full model where that can be said. */
export function shapeText(c: Config): string {
  const shape = shapeName(c)
  if (shape !== "other shape" || !hasFullLayers(c)) return shape
  const experts = c.nExperts === 256 ? "" : ` with ${c.nExperts} of 256 experts`
  return `${c.nLayers} layers of the full model's shape${experts}`
}

function reportText(
  facts: readonly (readonly [string, string])[],
  measured: readonly Measured[],
  c: Config,
  paint: Paint,
): string {
  const sections = [headText(facts, paint)]
  if (measured.length > 0) {
    const rows = measured.map((m) => m.row)
    sections.push(speedText(rows, paint), layerText(measured, c, paint))
    sections.push(extrapolationText(measured, c, paint) ?? "")
  }
  return `${sections.filter(Boolean).join("\n\n")}\n`
}
