/** Models that tests run, and how they run them. */
import { join } from "node:path"
import type { Activations } from "../../src/model/scratch.ts"
import type { BackendName } from "../../src/ops/backend.ts"
import { openRuntime, type OpenOptions } from "../../src/session/open.ts"
import type { Runtime } from "../../src/session/runtime.ts"

export const ROOT = join(import.meta.dir, "../..")
export const MINI_Q8 = join(ROOT, "models/ds4-mini/ds4-mini-q8.gguf")
export const MINI_Q2 = join(ROOT, "models/ds4-mini/ds4-mini-q2.gguf")

export function openTest(path: string, backend: BackendName, options: OpenOptions = {}): Runtime {
  return openRuntime({ path }, { context: 2048, threads: 2, ...options, backend })
}

export interface RunResult {
  /** [n, vocab] */
  logits: Float32Array
  /** [n, layers, streams, dim], if asked for. */
  hidden: Float32Array
}

/** Logits (and streams) of every position of a fresh sequence, fed in chunks of the given sizes; the
 *  last size repeats. */
export function runAll(
  runtime: Runtime,
  ids: readonly number[],
  chunks: readonly number[] = [512],
  wantHidden = false,
): RunResult {
  const { vocabSize, nLayers, hcMult, dim } = runtime.config
  const width = hcMult * dim
  const logits = new Float32Array(ids.length * vocabSize)
  const hidden = new Float32Array(wantHidden ? ids.length * nLayers * width : 0)
  const seq = runtime.sequence()
  for (let at = 0, c = 0; at < ids.length; c++) {
    const piece = ids.slice(at, at + chunks[Math.min(c, chunks.length - 1)]!)
    const start = at
    const onLayer = (layer: number, s: Activations) => {
      if (!wantHidden) return
      const streams = s.streams.f32()
      for (let r = 0; r < piece.length; r++)
        hidden.set(
          streams.subarray(r * width, (r + 1) * width),
          ((start + r) * nLayers + layer) * width,
        )
    }
    const steps = runtime.steps(
      [{ seq, ids: piece, logits: "all" }],
      (values, part) => {
        const rows = values.f32()
        part.forEach((p, i) =>
          logits.set(rows.subarray(i * vocabSize, (i + 1) * vocabSize), (start + p.at) * vocabSize),
        )
      },
      onLayer,
    )
    for (const _ of steps) void _
    seq.verify()
    at += piece.length
  }
  runtime.release(seq)
  return { logits, hidden }
}
