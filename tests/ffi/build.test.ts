import { expect, test } from "bun:test"
import { readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { ensureNativeLibrary } from "../../ffi/build.ts"
import { ISAS, LIBRARY } from "./machine.ts"

const ROOT = join(import.meta.dir, "../..")

test("ensureNativeLibrary() builds nothing when the library is current", async () => {
  const before = statSync(LIBRARY).mtimeMs
  const lines: string[] = []
  expect(await ensureNativeLibrary({ onProgress: (line) => lines.push(line) })).toBe(LIBRARY)
  expect(lines).toEqual([])
  expect(statSync(LIBRARY).mtimeMs).toBe(before)
})

test("ensureNativeLibrary() takes a library that it is given, if it is there", async () => {
  expect(await ensureNativeLibrary({ library: LIBRARY })).toBe(LIBRARY)
  expect(ensureNativeLibrary({ library: "/nowhere/x.so" })).rejects.toThrow("/nowhere/x.so")
})

test("build.zig, dispatch.c and the headers name the same instruction sets", () => {
  const zig = readFileSync(join(ROOT, "build.zig"), "utf8")
  const dispatch = readFileSync(join(ROOT, "ffi/cpu/dispatch.c"), "utf8")
  const names = new Set([...zig.matchAll(/\.name = "(\w+)"[,} ]/g)].map((m) => m[1]!))
  names.delete("ds4_cpu")
  expect(names.size).toBeGreaterThanOrEqual(ISAS.length)
  for (const name of names) {
    expect(dispatch).toContain(`{&ds4_kernels_${name},`)
    expect(readFileSync(join(ROOT, `ffi/cpu/simd_${name}.h`), "utf8")).toContain("cc:")
  }
})
