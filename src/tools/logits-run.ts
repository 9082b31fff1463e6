/** Logits, and if wanted the streams after each layer, of every position of a list of ids, handed on
 *  as they are computed so that nothing grows with the length. */
import type { Activations } from "../model/scratch.ts"
import type { Tensor } from "../ops/tensor.ts"
import type { LogitsRow, Runtime } from "../session/runtime.ts"

/** Gets the results; the arrays are reused after the call. */
export interface LogitsSink {
  /** Logits [n, vocab] of positions position … */
  logits(position: number, rows: Float32Array): void
  /** Streams [n, hcMult, dim] after a layer, of positions position … */
  hidden?(position: number, layer: number, rows: Float32Array): void
}

/** Runs ids through a fresh sequence, `chunk` rows a step (at most the runtime's maxRows). Yields the
 *  number of positions done after every layer. */
export function* runLogits(
  runtime: Runtime,
  ids: readonly number[],
  chunk: number,
  sink: LogitsSink,
): Generator<number, void> {
  const { backend } = runtime
  const seq = runtime.sequence()
  let staging = new Float32Array(0)
  const fetch = (tensor: Tensor): Float32Array => {
    if (staging.length < tensor.size) staging = new Float32Array(tensor.size)
    const rows = staging.subarray(0, tensor.size)
    backend.read(tensor.buffer, tensor.offset, new Uint8Array(rows.buffer, 0, tensor.bytes))
    return rows
  }
  try {
    for (let start = 0; start < ids.length; start += chunk) {
      const piece = ids.slice(start, start + chunk)
      const onLogits = (logits: Tensor, part: readonly LogitsRow[]) =>
        sink.logits(start + part[0]!.at, fetch(logits))
      const onLayer = (layer: number, s: Activations) =>
        sink.hidden?.(start, layer, fetch(s.streams))
      const work = { seq, ids: piece, logits: "all" as const, end: ids.length }
      for (const layer of runtime.steps([work], onLogits, onLayer))
        yield start + (piece.length * (layer + 1)) / (runtime.config.nLayers + 1)
      seq.verify()
      yield start + piece.length
    }
  } finally {
    runtime.release(seq)
  }
}
