/** `ds4 bench --kernels`: every op that takes the time, against what memory and arithmetic allow. */
import { abiOf, native, openContext } from "../../ffi/library.ts"
import { type Io, ProgressLine } from "../cli/io.ts"
import { engineOptions } from "../cli/models.ts"
import type { Args } from "../cli/options.ts"
import { CliError } from "../errors.ts"
import { Fixture } from "../ops/conformance/fixture.ts"
import type { Backend } from "../ops/backend.ts"
import { type CpuOptions } from "../ops/native.ts"
import { loadNative, openBackend } from "../ops/open.ts"
import { availableMemory } from "../session/memory.ts"
import { BANDWIDTH_METHOD, measureBandwidth } from "./bench-bandwidth.ts"
import { drive, Interrupt, INTERRUPTED } from "./bench-drive.ts"
import { type KernelSpec, kernelSpecs, WeightPool } from "./bench-kernel-cases.ts"
import { median } from "./bench-layers.ts"
import { machineName } from "./bench-model.ts"
import { headText, threeFigures } from "./bench-print.ts"
import { type Paint, size, table } from "./inspect-print.ts"

/** A case with its time. */
export interface KernelResult {
  spec: KernelSpec
  seconds: number
  macs: number
  bytes: number
}

/** What the machine can do at most. */
export interface Roofline {
  /** Measured; undefined where it was not. */
  bytesPerSecond: number | undefined
  /** Multiply-adds a second, of cores and clock; undefined where it is not known. */
  macsPerSecond: Record<KernelSpec["arithmetic"], number> | undefined
}

export async function runKernels(args: Args, io: Io): Promise<number> {
  const specs = chosenSpecs(args.text("only"))
  const { backend: name, ...options } = engineOptions(args)
  if (name === "reference")
    throw new CliError("--kernels measures backends that are meant to be fast, not reference")
  await loadNative()
  const backend = openBackend(name ?? "cpu", options)
  const progress = new ProgressLine(io)
  const stop = new Interrupt()
  try {
    progress.show("Measuring memory")
    const bandwidth = measureBandwidth(backend)
    const cores = coresOf(options)
    const roof = { bytesPerSecond: bandwidth?.bytesPerSecond, macsPerSecond: cores.macsPerSecond }
    const results: KernelResult[] = []
    const show = (text: string) => progress.show(text)
    await drive(timeKernels(backend, specs, results), show, stop)
    progress.clear()
    const memory = bandwidth
      ? `${(bandwidth.bytesPerSecond / 1e9).toFixed(1)} GB/s (${size(bandwidth.bytes)}, ${BANDWIDTH_METHOD})`
      : "not measured"
    const facts = [
      ["machine", machineName()],
      ["backend", backend.description],
      ["memory reads", memory],
      ["arithmetic", cores.text],
    ] as const
    io.out(`${headText(facts, io.colors)}\n\n${kernelText(results, roof, io.colors)}\n`)
    if (stop.asked) io.err(`Stopped: ${results.length} of ${specs.length} kernels were measured.\n`)
  } finally {
    progress.clear()
    stop.off()
    backend.close()
  }
  return stop.asked ? INTERRUPTED : 0
}

/** All cases, or those whose op, type or shape holds a text. @throws CliError if there is none. */
export function chosenSpecs(only: string | undefined): KernelSpec[] {
  const specs = kernelSpecs().filter(
    (s) => only === undefined || `${s.op} ${s.type} ${s.what}`.includes(only),
  )
  if (specs.length > 0) return specs
  const ops = [...new Set(kernelSpecs().map((s) => s.op))].join(", ")
  throw new CliError(`--only is "${only}": no kernel has it in its name; there are ${ops}`)
}

const MIN_SECONDS = 0.3
const MIN_CALLS = 3
/** A slow kernel is not run again after so long. */
const ENOUGH_SECONDS = 1.5

/** Times the cases one after the other and adds them to `results`. Yields after every call. */
export function* timeKernels(
  backend: Backend,
  specs: readonly KernelSpec[],
  results: KernelResult[],
): Generator<string, void> {
  const pool = new WeightPool(backend, availableMemory() / 3)
  try {
    for (const [i, spec] of specs.entries()) {
      yield `${i} of ${specs.length} kernels: ${spec.op} ${spec.type}, ${spec.what}`
      using fixture = new Fixture(backend, 7)
      const { call, macs, bytes } = spec.prepare(fixture, pool)
      call(0) // touches what is written
      const times: number[] = []
      for (let all = 0; !isEnough(all, times.length); all += times.at(-1)!) {
        const start = Bun.nanoseconds()
        call(times.length + 1)
        times.push((Bun.nanoseconds() - start) / 1e9)
        yield `${i + 1} of ${specs.length} kernels: ${spec.op} ${spec.type}, ${spec.what}`
      }
      results.push({ spec, seconds: median(times), macs, bytes })
    }
  } finally {
    pool.close()
  }
}

const isEnough = (seconds: number, calls: number) =>
  (seconds >= MIN_SECONDS && calls >= MIN_CALLS) || seconds >= ENOUGH_SECONDS

/** A line per kernel: speed, and the share of what its roofline allows. */
export function kernelText(results: readonly KernelResult[], roof: Roofline, paint: Paint): string {
  const head = ["kernel", "type", "shape", "rows", "ms", "GMAC/s", "GB/s", "% of roof", "bound by"]
  const lines = results.map(({ spec, seconds, macs, bytes }) => {
    const { percent, by } = share({ spec, seconds, macs, bytes }, roof)
    return [
      spec.op,
      spec.type,
      spec.what,
      String(spec.rows),
      threeFigures(1000 * seconds),
      threeFigures(macs / seconds / 1e9),
      threeFigures(bytes / seconds / 1e9),
      percent?.toFixed(0) ?? "",
      by,
    ]
  })
  const note =
    "Each call meets other weights than the last, out of more than caches hold; rows of the KV " +
    "cache may be cached.\nThe roof is the longer of the times that memory and arithmetic need at least."
  return `${table(head, lines, paint)}\n${paint.dim(note)}`
}

/** Percent of the roofline, and which side of it is nearer. */
function share({ spec, seconds, macs, bytes }: KernelResult, roof: Roofline) {
  const memory = roof.bytesPerSecond === undefined ? 0 : bytes / roof.bytesPerSecond
  const compute = roof.macsPerSecond ? macs / roof.macsPerSecond[spec.arithmetic] : 0
  const least = Math.max(memory, compute)
  if (least === 0) return { percent: undefined, by: "" }
  return { percent: (100 * least) / seconds, by: memory >= compute ? "memory" : spec.arithmetic }
}

/** Multiply-adds of a core in a cycle, 8-bit and f32: two vector units (AVX-512 as wide as in Zen 5 and
 *  Intel's servers), and for 8 bits without a dot product two instructions each. */
const MACS_PER_CYCLE: Readonly<Record<string, Record<KernelSpec["arithmetic"], number>>> = {
  avx2: { int8: 32, float: 16 },
  avx512: { int8: 128, float: 32 },
  neon: { int8: 16, float: 8 },
  neon_dotprod: { int8: 32, float: 8 },
}

function coresOf(options: CpuOptions) {
  const k = native()
  const ctx = openContext(k, options)
  const { isa, threads } = abiOf(k, ctx)
  k.ds4_close(ctx)
  const perCycle = MACS_PER_CYCLE[isa]
  if (!perCycle) return { text: `not known for ${isa}`, macsPerSecond: undefined }
  const hertz = measureClock()
  const macsPerSecond = {
    int8: threads * hertz * perCycle.int8,
    float: threads * hertz * perCycle.float,
  }
  const giga = (n: number) => (n / 1e9).toFixed(0)
  const text =
    `at most ${giga(macsPerSecond.int8)} GMAC/s of 8 bits, ${giga(macsPerSecond.float)} of f32 ` +
    `(${threads} × ${(hertz / 1e9).toFixed(2)} GHz as measured × ${perCycle.int8}, ${perCycle.float} a cycle)`
  return { text, macsPerSecond }
}

const CLOCK_ROUNDS = 1e7
const CYCLES_PER_ROUND = 6

/** Cycles a second, from a chain of shifts and exclusive-ors of one cycle each. */
function measureClock(): number {
  let best = Infinity
  for (let i = 0; i < 5; i++) {
    const start = Bun.nanoseconds()
    chain(CLOCK_ROUNDS)
    best = Math.min(best, Bun.nanoseconds() - start)
  }
  return (CYCLES_PER_ROUND * CLOCK_ROUNDS) / (best / 1e9)
}

function chain(n: number): number {
  let x = 1
  for (let i = 0; i < n; i++) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
  }
  return x
}
