/** compress: blocks that complete inside a step and across steps, at both ratios. */
import type { GgmlType } from "../../gguf/types.ts"
import { type Case, output } from "./case.ts"
import type { Bound } from "./compare.ts"
import { type RowSpec, run } from "./fixture.ts"

const POOLED: Bound = { atol: 2e-6, rtol: 2e-6, why: "a softmax over up to 128 tokens in f32" }

interface Shape {
  readonly ratio: number
  /** Elements of a pooled row; twice as many come in where blocks overlap. */
  readonly dim: number
  readonly overlap: boolean
  readonly nSlots: number
  readonly type: GgmlType
}

export function compressorCases(): Case[] {
  const four: Shape = { ratio: 4, dim: 128, overlap: true, nSlots: 16, type: "F16" }
  const many: Shape = { ratio: 128, dim: 72, overlap: false, nSlots: 160, type: "F32" }
  const full: Shape = { ...four, dim: 512, nSlots: 40 }
  return [
    compress("ratio 4, the first block has none before it", four, [run(0, 0, 9)]),
    compress(
      "ratio 4, token by token",
      four,
      [0, 1, 2, 3, 4, 5, 6, 7, 8].map((p) => run(1, p, 1)),
    ),
    compress("ratio 4, blocks across steps", four, [run(0, 5, 2), run(0, 7, 3), run(0, 10, 6)]),
    compress("ratio 4, two sequences", four, [[...run(1, 10, 7), ...run(0, 0, 5)]]),
    compress("ratio 4, the ring wraps", four, [run(0, 14, 5), run(0, 19, 1), run(0, 20, 12)]),
    compress("ratio 4, rows of 512", full, [[...run(0, 30, 33)]]),
    compress("ratio 128, inside a step", many, [run(0, 0, 129)]),
    compress("ratio 128, from the ring", many, [[...run(0, 127, 1), ...run(1, 250, 8)]]),
    compress("ratio 128, nothing completes", many, [run(0, 0, 17)]),
    compress("ratio 128, rows of 512", { ...many, dim: 512, nSlots: 128 }, [run(1, 255, 1)]),
    compress("BF16 ape, scores of ±1000", { ...four, type: "BF16" }, [run(0, 3, 17)], 1000),
    notFinite(four),
  ]
}

function compress(name: string, s: Shape, steps: RowSpec[][], scoreScale = 1): Case {
  return {
    op: "compress",
    name,
    run(f) {
      const width = s.overlap ? 2 * s.dim : s.dim
      const ring = {
        k: f.normals([2, s.nSlots, width]),
        s: f.normals([2, s.nSlots, width], scoreScale),
      }
      const ape = f.weights(s.type, [s.ratio, width], 1)
      return steps.map((step, i) => {
        const k = f.normals([step.length, width])
        const score = f.normals([step.length, width], scoreScale)
        const [out, rows] = [f.tensor("F32", step.length, s.dim), f.rows(step)]
        f.ops.compress(out, k, score, ring, ape, rows)
        f.ops.storeRing(ring.k, k, rows)
        f.ops.storeRing(ring.s, score, rows)
        return output(f, `step ${i}`, out, POOLED)
      })
    },
  }
}

function notFinite(s: Shape): Case {
  return {
    op: "compress",
    name: "NaN and infinity among keys and scores",
    run(f) {
      const width = 2 * s.dim
      const odd = (value: number) => {
        const x = f.rand.normals(8 * width)
        x[width * 3 + 5] = value
        return f.floats([8, width], x)
      }
      const ring = { k: f.normals([1, s.nSlots, width]), s: f.normals([1, s.nSlots, width]) }
      const out = f.tensor("F32", 8, s.dim)
      const ape = f.weights(s.type, [s.ratio, width], 1)
      const [k, score] = [odd(Number.POSITIVE_INFINITY), odd(Number.NaN)]
      f.ops.compress(out, k, score, ring, ape, f.rows(run(0, 0, 8)))
      return [output(f, "out", out, "any")]
    },
  }
}
