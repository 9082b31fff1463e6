/** hcSplit, hcCollapse, hcExpand and hcHeadWeights. */
import { type Case, output } from "./case.ts"
import type { Bound } from "./compare.ts"

const SIGMOID: Bound = { atol: 1e-7, rtol: 1e-6, why: "our own exp in f32" }
const SINKHORN: Bound = { atol: 1e-6, rtol: 1e-5, why: "twenty passes of f32 divisions" }
const SUM: Bound = { atol: 2e-6, rtol: 2e-6, why: "sums of four and five f32 products" }

export function hyperConnectionCases(): Case[] {
  return [
    ...[1, 2, 17, 33].map((n) => split(`${n} rows`, n, 1, 20)),
    split("mixes of ±100: one-hot rows", 5, 100, 20),
    split("mixes of 0: all equal", 2, 0, 20),
    split("a single pass", 3, 1, 1),
    ...(
      [
        [1, 256],
        [17, 300],
        [2, 4096],
      ] as const
    ).flatMap(([nRows, dim]) => [collapse(nRows, dim), expand(nRows, dim)]),
    headWeights(),
    notFinite(),
  ]
}

function split(name: string, nRows: number, scale: number, nIters: number): Case {
  return {
    op: "hcSplit",
    name,
    run(f) {
      const mix = f.normals([nRows, 24], scale)
      const base = f.normals([24], scale === 0 ? 0 : 1)
      const [pre, post] = [f.tensor("F32", nRows, 4), f.tensor("F32", nRows, 4)]
      const comb = f.tensor("F32", nRows, 4, 4)
      f.ops.hcSplit(pre, post, comb, mix, f.floats([3], [0.7, 1.1, 0.9]), base, nIters, 1e-6)
      return [
        output(f, "pre", pre, SIGMOID),
        output(f, "post", post, SIGMOID),
        output(f, "comb", comb, SINKHORN),
      ]
    },
  }
}

function collapse(nRows: number, dim: number): Case {
  return {
    op: "hcCollapse",
    name: `${nRows} rows of ${dim}`,
    run(f) {
      const out = f.tensor("F32", nRows, dim)
      f.ops.hcCollapse(out, f.normals([nRows, 4, dim]), f.normals([nRows, 4]))
      return [output(f, "out", out, SUM)]
    },
  }
}

function expand(nRows: number, dim: number): Case {
  return {
    op: "hcExpand",
    name: `${nRows} rows of ${dim}`,
    run(f) {
      const [streams, y] = [f.normals([nRows, 4, dim]), f.normals([nRows, dim])]
      f.ops.hcExpand(streams, y, f.normals([nRows, 4]), f.normals([nRows, 4, 4]))
      return [output(f, "streams", streams, SUM)]
    },
  }
}

function headWeights(): Case {
  return {
    op: "hcHeadWeights",
    name: "17 rows, from vanishing to full weight",
    run(f) {
      const out = f.tensor("F32", 17, 4)
      const mix = f.normals([17, 4], 30)
      f.ops.hcHeadWeights(out, mix, f.floats([1], [1.3]), f.normals([4]), 1e-6)
      return [output(f, "out", out, SIGMOID)]
    },
  }
}

function notFinite(): Case {
  return {
    op: "hcSplit",
    name: "NaN and infinity",
    run(f) {
      const mix = f.rand.normals(72)
      mix[2] = Number.NaN
      mix[24 + 12] = Number.POSITIVE_INFINITY
      mix[48 + 20] = Number.NEGATIVE_INFINITY
      const [pre, post] = [f.tensor("F32", 3, 4), f.tensor("F32", 3, 4)]
      const comb = f.tensor("F32", 3, 4, 4)
      const base = f.normals([24])
      f.ops.hcSplit(
        pre,
        post,
        comb,
        f.floats([3, 24], mix),
        f.floats([3], [1, 1, 1]),
        base,
        20,
        1e-6,
      )
      return [output(f, "comb", comb, "any")]
    },
  }
}
