/** Every op refuses operands that do not fit with a ShapeError, before any kernel sees them. */
import { expect, test } from "bun:test"
import { OP_NAMES } from "../../ffi/ops.gen.ts"
import { ShapeError } from "../../src/errors.ts"
import { Ops } from "../../src/ops/ops.ts"
import { Tensor, type TensorType } from "../../src/ops/tensor.ts"
import { openTrace } from "../../src/ops/trace.ts"

const trace = openTrace()
const ops = new Ops(trace)
const buffer = trace.alloc(2 ** 30, "shapes")
const t = (type: TensorType, ...dims: number[]) => new Tensor(buffer, 0, type, dims)
const f = (...dims: number[]) => t("F32", ...dims)
const i = (...dims: number[]) => t("I32", ...dims)
const u = (...dims: number[]) => t("U8", ...dims)
const rows = (n: number) => i(n, 5)

/** n operands of the right shape go through; the same with `wrong` in place of operand `at` do not. */
interface Shapes {
  readonly call: (...operands: Tensor[]) => void
  readonly good: Tensor[]
  readonly bad: [at: number, wrong: Tensor][]
}

const pages = (p: Tensor, table: Tensor) => ({ rows: p, table, ratio: 4 })

const SHAPES: Record<(typeof OP_NAMES)[number], Shapes> = {
  embed: {
    call: (out, table, r) => ops.embed(out!, table!, r!),
    good: [f(2, 4, 64), t("Q8_0", 9, 64), rows(2)],
    bad: [
      [0, f(2, 64)],
      [1, f(9, 32)],
      [2, rows(3)],
      [2, f(2, 5)],
    ],
  },
  rmsNorm: {
    call: (out, x, w) => ops.rmsNorm(out!, x!, w!, 1),
    good: [f(2, 8), f(2, 8), f(8)],
    bad: [
      [0, f(2, 9)],
      [2, f(9)],
      [2, i(8)],
    ],
  },
  matmul: {
    call: (out, x, w) => ops.matmul(out!, x!, w!, 2),
    good: [f(3, 10), f(3, 64), t("Q8_0", 10, 32)],
    bad: [
      [0, f(3, 11)],
      [0, f(2, 10)],
      [1, f(3, 32)],
      [2, f(10, 33)],
      [2, f(2, 5, 32)],
    ],
  },
  ropeTable: {
    call: (out, freqs, r) => ops.ropeTable(out!, freqs!, r!, 1),
    good: [f(2, 32, 2), f(32), rows(2)],
    bad: [
      [0, f(2, 64)],
      [1, f(31)],
      [2, rows(1)],
    ],
  },
  ropeTail: {
    call: (x, table) => ops.ropeTail(x!, table!),
    good: [f(2, 3, 80), f(2, 32, 2)],
    bad: [
      [0, f(2, 240)],
      [0, f(2, 3, 63)],
      [1, f(1, 32, 2)],
    ],
  },
  hcSplit: {
    call: (pre, post, comb, mix, scale, base) =>
      ops.hcSplit(pre!, post!, comb!, mix!, scale!, base!, 20, 1e-6),
    good: [f(2, 4), f(2, 4), f(2, 4, 4), f(2, 24), f(3), f(24)],
    bad: [
      [0, f(2, 3)],
      [1, f(1, 4)],
      [2, f(2, 16)],
      [3, f(2, 23)],
      [4, f(1)],
      [5, f(23)],
    ],
  },
  hcCollapse: {
    call: (out, streams, pre) => ops.hcCollapse(out!, streams!, pre!),
    good: [f(2, 8), f(2, 4, 8), f(2, 4)],
    bad: [
      [0, f(2, 9)],
      [1, f(2, 32)],
      [2, f(2, 3)],
    ],
  },
  hcExpand: {
    call: (streams, y, post, comb) => ops.hcExpand(streams!, y!, post!, comb!),
    good: [f(2, 4, 8), f(2, 8), f(2, 4), f(2, 4, 4)],
    bad: [
      [0, f(2, 32)],
      [1, f(2, 9)],
      [2, f(2, 5)],
      [3, f(2, 4, 3)],
    ],
  },
  hcHeadWeights: {
    call: (out, mix, scale, base) => ops.hcHeadWeights(out!, mix!, scale!, base!, 1e-6),
    good: [f(2, 4), f(2, 4), f(1), f(4)],
    bad: [
      [1, f(2, 5)],
      [2, f(3)],
      [3, f(5)],
    ],
  },
  roundKv: {
    call: (x) => ops.roundKv(x!, 64),
    good: [f(2, 128)],
    bad: [
      [0, f(2, 100)],
      [0, f(2, 1, 128)],
    ],
  },
  roundIndex: {
    call: (x) => ops.roundIndex(x!),
    good: [f(2, 3, 128)],
    bad: [
      [0, f(2, 96)],
      [0, f(2, 16)],
    ],
  },
  packRows: {
    call: (out, x) => ops.packRows(out!, x!, 0, 64),
    good: [u(2, 200), f(2, 128)],
    bad: [
      [0, u(1, 200)],
      [0, u(400)],
      [1, f(2, 1, 128)],
    ],
  },
  storeRing: {
    call: (ring, src, r) => ops.storeRing(ring!, src!, r!),
    good: [u(2, 8, 24), u(3, 24), rows(3)],
    bad: [
      [0, u(2, 192)],
      [1, u(3, 23)],
      [1, f(3, 24)],
      [2, rows(2)],
    ],
  },
  storePages: {
    call: (p, table, src, r) => ops.storePages(pages(p!, table!), src!, r!),
    good: [u(3, 32, 24), i(2, 2), u(3, 24), rows(3)],
    bad: [
      [0, u(3, 768)],
      [1, i(4)],
      [2, u(3, 25)],
      [3, rows(4)],
    ],
  },
  compress: {
    call: (out, k, s, ringK, ringS, ape, r) =>
      ops.compress(out!, k!, s!, { k: ringK!, s: ringS! }, ape!, r!),
    good: [f(3, 8), f(3, 16), f(3, 16), f(2, 8, 16), f(2, 8, 16), t("F16", 4, 16), rows(3)],
    bad: [
      [0, f(3, 7)],
      [1, f(3, 8)],
      [2, f(2, 16)],
      [3, f(2, 8, 15)],
      [4, f(2, 7, 16)],
      [5, f(4, 8)],
      [6, rows(1)],
    ],
  },
  indexTopK: {
    call: (sel, q, w, p, table, r) => ops.indexTopK(sel!, q!, w!, pages(p!, table!), r!, 1),
    good: [i(2, 9), f(2, 3, 128), f(2, 3), u(4, 32, 68), i(2, 2), rows(2)],
    bad: [
      [0, i(1, 9)],
      [1, f(2, 384)],
      [2, f(2, 4)],
      [3, u(128, 68)],
      [4, i(4)],
      [5, rows(1)],
    ],
  },
  attend: {
    call: (out, q, step, ring, p, table, sel, sinks, r) =>
      ops.attend(out!, q!, step!, ring!, pages(p!, table!), sel!, sinks!, r!, 8, 64, 1),
    good: [
      f(2, 3, 128),
      f(2, 3, 128),
      u(2, 200),
      u(2, 8, 200),
      u(4, 32, 200),
      i(2, 2),
      i(2, 5),
      f(3),
      rows(2),
    ],
    bad: [
      [0, f(2, 3, 64)],
      [1, f(2, 384)],
      [2, u(1, 200)],
      [3, u(2, 8, 199)],
      [4, u(4, 32, 199)],
      [5, i(3, 2)],
      [6, i(1, 5)],
      [7, f(4)],
      [8, rows(3)],
    ],
  },
  routerTopK: {
    call: (sel, weights, logits, bias) => ops.routerTopK(sel!, weights!, logits!, bias!, 1),
    good: [i(2, 3), f(2, 3), f(2, 8), f(8)],
    bad: [
      [0, i(1, 3)],
      [1, f(2, 4)],
      [2, f(16)],
      [3, f(7)],
    ],
  },
  routerHash: {
    call: (sel, weights, logits, table, r) =>
      ops.routerHash(sel!, weights!, logits!, table!, r!, 1),
    good: [i(2, 3), f(2, 3), f(2, 8), i(20, 3), rows(2)],
    bad: [
      [0, i(2, 2)],
      [1, f(2, 2)],
      [2, f(3, 8)],
      [3, i(20, 4)],
      [4, rows(5)],
    ],
  },
  expertsGateUp: {
    call: (out, x, gate, up, sel, w) => ops.expertsGateUp(out!, x!, gate!, up!, sel!, w!, 1),
    good: [f(2, 3, 8), f(2, 16), f(5, 8, 16), f(5, 8, 16), i(2, 3), f(2, 3)],
    bad: [
      [0, f(2, 24)],
      [1, f(2, 15)],
      [2, f(5, 7, 16)],
      [3, f(4, 8, 16)],
      [3, t("F16", 5, 8, 16)],
      [4, f(2, 3)],
      [5, f(2, 2)],
    ],
  },
  expertsDown: {
    call: (out, h, down, sel) => ops.expertsDown(out!, h!, down!, sel!),
    good: [f(2, 16), f(2, 3, 8), f(5, 16, 8), i(2, 3)],
    bad: [
      [0, f(2, 15)],
      [1, f(2, 24)],
      [2, f(5, 16, 9)],
      [3, i(2, 4)],
    ],
  },
  swiglu: {
    call: (out, gate, up) => ops.swiglu(out!, gate!, up!, 1),
    good: [f(2, 8), f(2, 8), f(2, 8)],
    bad: [
      [1, f(2, 9)],
      [2, f(3, 8)],
    ],
  },
  add: {
    call: (out, a, b) => ops.add(out!, a!, b!),
    good: [f(2, 8), f(2, 8), f(2, 8)],
    bad: [
      [1, f(2, 9)],
      [2, i(2, 8)],
    ],
  },
  gatherRows: {
    call: (out, x, index) => ops.gatherRows(out!, x!, index!),
    good: [f(3, 8), f(5, 8), i(3)],
    bad: [
      [0, f(3, 9)],
      [2, i(2)],
    ],
  },
  candidates: {
    call: (info, ids, values, logits, mask, delta) =>
      ops.candidates(info!, ids!, values!, logits!, mask!, delta!, null, 0),
    good: [i(2, 5), i(2, 9), f(2, 9), f(2, 70), i(2, 3), f(2)],
    bad: [
      [0, i(2, 4)],
      [1, i(1, 9)],
      [2, f(2, 8)],
      [3, f(140)],
      [4, i(2, 2)],
      [5, f(3)],
    ],
  },
}

test.each([...OP_NAMES])("%s() takes what fits and refuses what does not", (op) => {
  const { call, good, bad } = SHAPES[op]
  trace.reset()
  call(...good)
  expect(trace.records.map((r) => r.op)).toEqual([op])
  for (const [at, wrong] of bad)
    expect(() => call(...good.with(at, wrong)), `operand ${at}: [${wrong.dims}]`).toThrow(
      ShapeError,
    )
  expect(trace.records.length).toBe(1)
})
