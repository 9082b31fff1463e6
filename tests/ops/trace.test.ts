/** The trace backend: what was asked, and what it would cost. */
import { expect, test } from "bun:test"
import { OP_NAMES } from "../../ffi/ops.gen.ts"
import type { ByteSource } from "../../src/gguf/types.ts"
import { Ops } from "../../src/ops/ops.ts"
import { Tensor, type TensorType } from "../../src/ops/tensor.ts"
import { openTrace } from "../../src/ops/trace.ts"

const trace = openTrace()
const ops = new Ops(trace)
const tensor = (type: TensorType, ...dims: number[]) =>
  new Tensor(trace.alloc(2 ** 30, "a test"), 0, type, dims)

test("a call leaves its numbers, its bytes of weights and its operations", () => {
  trace.reset()
  const w = tensor("Q8_0", 2 * 48, 64)
  ops.matmul(tensor("F32", 3, 96), tensor("F32", 3, 128), w, 2)
  expect(trace.records).toEqual([
    { op: "matmul", sizes: [3, 2, 64, 48, 8], weightBytes: 96 * 68, flops: 2 * 3 * 2 * 64 * 48 },
  ])
  trace.reset()
  expect(trace.records).toEqual([])
})

test("an expert counts once, and only as many as rows can choose", () => {
  trace.reset()
  const down = tensor("F32", 8, 16, 32)
  ops.expertsDown(tensor("F32", 1, 16), tensor("F32", 1, 2, 32), down, tensor("I32", 1, 2))
  ops.expertsDown(tensor("F32", 9, 16), tensor("F32", 9, 2, 32), down, tensor("I32", 9, 2))
  expect(trace.records.map((r) => r.weightBytes)).toEqual([2 * 16 * 32 * 4, down.bytes])
})

test("attend() counts the window and the rows that a selection allows", () => {
  trace.reset()
  const [q, step] = [tensor("F32", 2, 3, 64), tensor("U8", 2, 72)]
  const ring = tensor("U8", 1, 8, 72)
  const pages = { rows: tensor("U8", 2, 32, 72), table: tensor("I32", 1, 2), ratio: 4 }
  const rows = tensor("I32", 2, 5)
  const attend = (p: typeof pages | null, sel: Tensor | null) =>
    ops.attend(q, q, step, ring, p, sel, tensor("F32", 3), rows, 8, 64, 1)
  attend(null, null)
  attend(pages, null)
  attend(pages, tensor("I32", 2, 10))
  expect(trace.records.map((r) => r.flops / (4 * 2 * 3 * 64))).toEqual([8, 8 + 64, 8 + 10])
})

test("every op is recorded", () => {
  expect(Object.keys(trace.kernels)).toEqual([...OP_NAMES])
})

test("memory has distinct addresses, reads as zeros and forgets", () => {
  const [a, b] = [trace.alloc(100, "one"), trace.alloc(0, "none")]
  const c = trace.alloc(2 ** 40, "much")
  expect(new Set([a.address, b.address, c.address]).size).toBe(3)
  trace.write(a, 0, Uint8Array.of(1, 2, 3))
  const into = Uint8Array.of(9, 9, 9)
  trace.read(a, 0, into)
  expect([...into]).toEqual([0, 0, 0])
})

test("a mapped file can be seen", () => {
  const source = { size: 4, address: () => 0, bytes: (at: number) => Uint8Array.of(at) }
  const buffer = trace.map(source as unknown as ByteSource)
  expect(buffer.bytes).toBe(4)
  expect([...buffer.bytesAt!(3, 1)]).toEqual([3])
})
