/** ropeTable and ropeTail. */
import { type Case, output } from "./case.ts"
import type { Bound } from "./compare.ts"
import { run } from "./fixture.ts"

const ANGLE: Bound = { atol: 2e-7, rtol: 0, why: "cosine and sine of the same f32 angle" }
const TURNED: Bound = { atol: 1e-6, rtol: 1e-6, why: "two products in f32" }

const POSITIONS = [0, 1, 2, 3, 4, 127, 128, 129, 1023, 65535, 100_000, 1_000_003]

const frequencies = (nPairs: number, theta: number) =>
  Float32Array.from({ length: nPairs }, (_, i) => theta ** (-i / nPairs))

export function ropeCases(): Case[] {
  return [
    ...[1, 4, 128].map((ratio) => table(ratio)),
    tail("mini, 4 heads of 128", 17, 4, 128, 64, false),
    tail("a row as one head of 80", 3, 1, 80, 64, true),
    tail("64 heads of 512", 2, 64, 512, 64, false),
    tail("64 heads of 512, back", 1, 64, 512, 64, true),
    tail("all of 64", 33, 2, 64, 64, true),
  ]
}

function table(ratio: number): Case {
  return {
    op: "ropeTable",
    name: `positions 0 to a million, ratio ${ratio}`,
    run(f) {
      const n = POSITIONS.length
      const rows = f.rows(POSITIONS.map((pos, i) => ({ seq: i, pos })))
      const out = f.tensor("F32", n, 32, 2)
      f.ops.ropeTable(out, f.floats([32], frequencies(32, 10000)), rows, ratio)
      return [output(f, "out", out, ANGLE)]
    },
  }
}

function tail(
  name: string,
  nRows: number,
  nHeads: number,
  dim: number,
  ropeDim: number,
  inverse: boolean,
): Case {
  return {
    op: "ropeTail",
    name,
    run(f) {
      const nPairs = ropeDim / 2
      const turns = f.tensor("F32", nRows, nPairs, 2)
      f.ops.ropeTable(
        turns,
        f.floats([nPairs], frequencies(nPairs, 160000)),
        f.rows(run(0, 90, nRows)),
        1,
      )
      const x = f.normals([nRows, nHeads, dim])
      f.ops.ropeTail(x, turns, inverse)
      return [output(f, "x", x, TURNED)]
    },
  }
}
