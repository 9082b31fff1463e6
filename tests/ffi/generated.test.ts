import { expect, test } from "bun:test"
import { join } from "node:path"
import { abiOf, openContext, openLibrary } from "../../ffi/library.ts"
import { ABI_VERSION, OP_SYMBOLS, STRUCT_BYTES } from "../../ffi/ops.gen.ts"
import { currentText } from "../../scripts/gen-ffi.ts"
import { LIBRARY } from "./machine.ts"

const ROOT = join(import.meta.dir, "../..")
const read = (path: string) => Bun.file(join(ROOT, path)).text()

test("ops.gen.ts is what its headers give", async () => {
  expect(await read("ffi/ops.gen.ts")).toBe(await currentText())
})

test("the compiler lays out every struct as TypeScript does", () => {
  const k = openLibrary(LIBRARY)
  const ctx = openContext(k, { threads: 1 })
  const abi = abiOf(k, ctx)
  k.ds4_close(ctx)
  expect(abi.abi).toBe(ABI_VERSION)
  expect(abi.structs).toEqual(STRUCT_BYTES)
})

test("library.ts knows every function of ds4.h with its number of arguments", async () => {
  const header = (await read("ffi/ds4.h")).replaceAll(/\/\*[\s\S]*?\*\//g, "")
  const source = await read("ffi/library.ts")
  const declared = [...header.matchAll(/DS4_API [\w *]+?(ds4_\w+)\(([^)]*)\)/g)]
  expect(declared.length).toBe(10)
  for (const [, name, parameters] of declared) {
    const args = source.match(new RegExp(`${name}: \\{ args: \\[([^\\]]*)\\]`))?.[1]
    expect([name, args?.split(",").length]).toEqual([name, parameters!.split(",").length])
  }
  expect(Object.keys(OP_SYMBOLS).length).toBe([...header.matchAll(/X\(\w+\)/g)].length)
})

test("openLibrary() says what is wrong with a library that does not load", () => {
  expect(() => openLibrary("/nowhere/lib.so")).toThrow("is loaded already")
})
