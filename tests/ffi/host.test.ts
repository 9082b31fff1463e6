import { afterAll, beforeAll, expect, test } from "bun:test"
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { adviseHost, allocHost, copyHost, freeHost, mapFile } from "../../ffi/host.ts"
import { NativeError } from "../../src/errors.ts"
import { LIBRARY } from "./machine.ts"

let dir = ""
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "ds4 host ü "))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

function file(name: string, bytes: Uint8Array): string {
  const path = join(dir, name)
  writeFileSync(path, bytes)
  return path
}

const BYTES = Uint8Array.from({ length: 5000 }, (_, i) => i * 7)

test("mapFile() gives the bytes of a file whose name has blanks and more than ASCII", () => {
  const source = mapFile(file("ein Modell 模型.gguf", BYTES))
  expect(source.size).toBe(5000)
  expect(source.bytes(0, 5000)).toEqual(BYTES)
  expect(source.bytes(4321, 5)).toEqual(BYTES.slice(4321, 4326))
  expect(source.bytes(5000, 0).length).toBe(0)
  expect(source.address(16) - source.address(0)).toBe(16)
  adviseHost(source.address(0), source.size, "willNeed")
  source.close()
})

test("mapFile() refuses views outside the file, and any after close()", () => {
  const source = mapFile(file("a", BYTES))
  for (const [offset, length] of [
    [-1, 1],
    [0, 5001],
    [5001, 0],
    [0.5, 1],
    [4999, 2],
  ] as const)
    expect(() => source.bytes(offset, length)).toThrow(NativeError)
  source.close()
  source.close()
  expect(() => source.bytes(0, 1)).toThrow("closed")
})

test("mapFile() names the path and the reason when it fails", () => {
  expect(() => mapFile(join(dir, "missing ✗"))).toThrow(/missing ✗: No such file/)
  expect(() => mapFile(dir)).toThrow("it is a directory")
  expect(() => mapFile(file("empty", new Uint8Array()))).toThrow("it is empty")
  const pipe = join(dir, "pipe")
  Bun.spawnSync(["mkfifo", pipe])
  expect(() => mapFile(pipe)).toThrow("it is not a file")
  expect(() => mapFile("a\0b")).toThrow("zero byte")
  expect(() => mapFile("x".repeat(5000))).toThrow(NativeError)
})

test.skipIf(process.getuid?.() === 0)("mapFile() tells of a file it may not read", () => {
  const path = file("secret", BYTES)
  chmodSync(path, 0)
  expect(() => mapFile(path)).toThrow(/secret: Permission denied/)
})

test("allocHost() gives zeroed memory that can be copied", () => {
  const [a, b] = [allocHost(1000, "a test"), allocHost(1000, "a test")]
  expect(a.address % 64).toBe(0)
  expect(a.bytesAt(0, 1000)).toEqual(new Uint8Array(1000))
  a.bytesAt(0, 1000).fill(7)
  copyHost(b.address + 1, a.address, 500)
  expect(b.bytesAt(0, 502)).toEqual(Uint8Array.from({ length: 502 }, (_, i) => (i % 501 ? 7 : 0)))
  expect(() => a.bytesAt(999, 2)).toThrow(NativeError)
  expect(() => allocHost(2 ** 52, "too much")).toThrow(/Cannot allocate .* for too much/)
  freeHost(a)
  freeHost(b)
})

test("a file that shrinks while mapped ends the process with a message and exit code 74", async () => {
  const path = file("shrinking", new Uint8Array(1 << 20).fill(1))
  const script = file(
    "shrink.ts",
    new TextEncoder().encode(`
      import { truncateSync } from "node:fs"
      import { openLibrary } from ${JSON.stringify(join(import.meta.dir, "../../ffi/library.ts"))}
      import { mapFile } from ${JSON.stringify(join(import.meta.dir, "../../ffi/host.ts"))}
      openLibrary(${JSON.stringify(LIBRARY)})
      const source = mapFile(${JSON.stringify(path)})
      truncateSync(${JSON.stringify(path)}, 4096)
      console.log(source.bytes(0, 1)[0])
      console.log(source.bytes(500_000, 1)[0])
    `),
  )
  const p = Bun.spawn([process.execPath, script], { stdout: "pipe", stderr: "pipe" })
  expect(await new Response(p.stdout).text()).toBe("1\n")
  expect(await new Response(p.stderr).text()).toBe("ds4: model file changed on disk\n")
  expect(await p.exited).toBe(74)
})
