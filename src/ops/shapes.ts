/** Checks that the ops make of their operands; every failure is a ShapeError that names the operand. */
import { ShapeError } from "../errors.ts"
import type { Tensor } from "./tensor.ts"

/** u32 words of a ds4_row: seq, pos, token, before, after. */
export const ROW_WORDS = 5

export function dims2(t: Tensor, what: string, d0?: number, d1?: number): [number, number] {
  const [a, b] = t.dims
  if (t.dims.length !== 2 || (d0 ?? a) !== a || (d1 ?? b) !== b)
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
  const [a, b, c] = t.dims
  if (t.dims.length !== 3 || (d0 ?? a) !== a || (d1 ?? b) !== b || (d2 ?? c) !== c)
    throw new ShapeError(
      `${what} is [${t.dims}], expected [${d0 ?? "any"}, ${d1 ?? "any"}, ${d2 ?? "any"}]`,
    )
  return t.dims as unknown as [number, number, number]
}

export function same(a: Tensor, b: Tensor, what: string): void {
  if (a.size !== b.size || a.type !== b.type || a.dims.at(-1) !== b.dims.at(-1))
    throw new ShapeError(`${what}: [${a.dims}] ${a.type} beside [${b.dims}] ${b.type}`)
}

export function expectRows(rows: Tensor, nRows: number): void {
  rows.expect("rows", [nRows, ROW_WORDS], "I32")
}
