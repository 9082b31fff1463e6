/** What the layer loop itself costs: tokens of the full model's 43 layers on a backend whose ops do
 *  nothing, arguments written as for the native ones: `bun scripts/loop-cost.ts [TOKENS]`. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ensureNativeLibrary } from "../ffi/build.ts"
import { openLibrary } from "../ffi/library.ts"
import { bindOps, OP_SYMBOLS, STRUCT_BYTES } from "../ffi/ops.gen.ts"
import type { Backend } from "../src/ops/backend.ts"
import { openBackend } from "../src/ops/open.ts"
import type { Tensor } from "../src/ops/tensor.ts"
import { openModelFile } from "../src/session/open.ts"
import { Runtime } from "../src/session/runtime.ts"
import { FULL_SHAPE } from "../src/tools/synthetic-shape.ts"
import { syntheticModel } from "../src/tools/synthetic.ts"

const tokens = Number(process.argv[2] ?? 10_000)
const WARM_UP = 2000
/** Medians of blocks: processors of a shared machine are slow for seconds at a time. */
const BLOCK = 500
const PAUSE_US = 5000

const quantile = (x: Float64Array, q: number) =>
  x.toSorted()[Math.min(x.length - 1, Math.floor(q * x.length))]!

/** Real memory, ops that return at once. */
function idleBackend(): Backend {
  const cpu = openBackend("cpu", { threads: 1 })
  const memory = new ArrayBuffer(Math.max(...Object.values(STRUCT_BYTES)))
  const symbols = Object.fromEntries(Object.keys(OP_SYMBOLS).map((name) => [name, () => 0]))
  const kernels = bindOps<Tensor>(symbols as never, 0 as never, 0 as never, memory, () => {})
  return { ...cpu, kernels }
}

const folder = mkdtempSync(join(tmpdir(), "ds4-loop-"))
try {
  openLibrary(await ensureNativeLibrary())
  const path = join(folder, "sparse.gguf")
  syntheticModel({ shape: FULL_SHAPE, recipe: "q2", seed: 1, sparse: true }).toFile(path, {
    sparse: true,
  })
  const runtime = new Runtime(openModelFile({ path }), idleBackend(), {
    context: WARM_UP + tokens,
    maxRows: 1,
  })
  const seq = runtime.sequence()
  const spent = new Float64Array(WARM_UP + tokens)
  for (let i = 0; i < spent.length; i++) {
    const start = Bun.nanoseconds()
    runtime.step([{ seq, ids: [i % FULL_SHAPE.vocabSize], logits: "last" }], () => {})
    spent[i] = (Bun.nanoseconds() - start) / 1000
  }
  const measured = spent.subarray(WARM_UP)
  const blocks = Array.from({ length: Math.ceil(tokens / BLOCK) }, (_, i) =>
    quantile(measured.subarray(i * BLOCK, (i + 1) * BLOCK), 0.5),
  )
  const [best, median, p99, longest] = [Math.min(...blocks), 0.5, 0.99, 1].map((q, i) =>
    (i === 0 ? q : quantile(measured, q)).toFixed(0),
  )
  console.log(`${runtime.config.nLayers} layers, ${tokens} tokens, ${BLOCK} at a time`)
  console.log(
    `µs a token: ${best} in the best block, median ${median}, p99 ${p99}, longest ${longest}`,
  )
  const pauses = measured.reduce((n, us) => n + Number(us > PAUSE_US), 0)
  console.log(`${pauses} tokens took more than ${PAUSE_US / 1000} ms`)
} finally {
  rmSync(folder, { recursive: true })
}
