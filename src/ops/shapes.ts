/** Checks that the ops make of their operands; every failure is a ShapeError that names the operand. */
import { ShapeError } from "../errors.ts"
import type { Tensor } from "./tensor.ts"

/** u32 words of a ds4_row: seq, pos, token, before, after. */
export const ROW_WORDS = 5

export function dims2(t: Tensor, what: string, d0?: number, d1?: number): [number, number] {
  const d = t.dims
  if (d.length !== 2 || (d0 ?? d[0]) !== d[0] || (d1 ?? d[1]) !== d[1])
    throw new ShapeError(`${what} is [${t.dims}], expected [${d0 ?? "any"}, ${d1 ?? "any"}]`)
  return t.dims as unknown as [number, number]
}

export function dims3(
  t: Tensor,
  what: string,
  d0?: number,
  d1?: number,
  d2?: number,
): [number, number, number] {
  const d = t.dims
  if (d.length !== 3 || (d0 ?? d[0]) !== d[0] || (d1 ?? d[1]) !== d[1] || (d2 ?? d[2]) !== d[2])
    throw new ShapeError(
      `${what} is [${t.dims}], expected [${d0 ?? "any"}, ${d1 ?? "any"}, ${d2 ?? "any"}]`,
    )
  return t.dims as unknown as [number, number, number]
}

const last = (t: Tensor) => t.dims[t.dims.length - 1]

export function same(a: Tensor, b: Tensor, what: string): void {
  if (a.size !== b.size || a.type !== b.type || last(a) !== last(b))
    throw new ShapeError(`${what}: [${a.dims}] ${a.type} beside [${b.dims}] ${b.type}`)
}

export function expectRows(rows: Tensor, nRows: number): void {
  rows.expect("rows", "I32", nRows, ROW_WORDS)
}
