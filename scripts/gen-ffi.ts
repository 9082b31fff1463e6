/** Makes ffi/ops.gen.ts from ffi/types.h and ffi/ds4.h: the op interface that every backend
 *  implements, the packers that write its argument structs, and the native binding of both.
 *  Run `bun scripts/gen-ffi.ts` after a change of a header; a test says when the file is stale. */
import { join } from "node:path"

type Kind = "ptr" | "u32" | "i32" | "f32"
interface Field {
  name: string
  kind: Kind
  /** An operand whose comment says what 0 stands for may be absent. */
  nullable: boolean
}
interface Struct {
  name: string
  fields: Field[]
}

const KINDS: Record<string, Kind> = {
  ds4_ptr: "ptr",
  uint32_t: "u32",
  int32_t: "i32",
  float: "f32",
}
const ROOT = join(import.meta.dir, "..")

/** All `typedef struct { … } name;` of a header whose fields are of the four kinds. */
export function parseStructs(header: string): Struct[] {
  const structs: Struct[] = []
  for (const m of header.matchAll(/typedef struct \{([^}]*)\} (\w+);/g)) {
    const fields: Field[] = []
    for (const f of m[1]!.matchAll(/^\s*(\w+) (\w+);[ \t]*(?:\/\* (.*?) \*\/|\/\/ (.*))?/gm)) {
      const kind = KINDS[f[1]!]
      if (!kind) throw new Error(`${m[2]}.${f[2]}: field type ${f[1]} is not one of the four`)
      const note = f[3] ?? f[4] ?? ""
      fields.push({ name: f[2]!, kind, nullable: /(^|[ ,])0(:|, or| without)/.test(note) })
    }
    structs.push({ name: m[2]!, fields })
  }
  return structs
}

/** Op names in the order of DS4_OPS. */
export function parseOps(header: string): string[] {
  const list = header.match(/#define DS4_OPS\(X\)([\s\S]*?)\n\n/)
  if (!list) throw new Error("ffi/ds4.h: no DS4_OPS list")
  return [...list[1]!.matchAll(/X\((\w+)\)/g)].map((m) => m[1]!)
}

const camel = (s: string) => s.replace(/_(\w)/g, (_, c: string) => c.toUpperCase())

/** Bytes of a struct: pointers 8, the rest 4, rounded up to 8 where a pointer is in it. */
export function structBytes(fields: Field[]): number {
  const raw = fields.reduce((n, f) => n + (f.kind === "ptr" ? 8 : 4), 0)
  return fields.some((f) => f.kind === "ptr") ? Math.ceil(raw / 8) * 8 : raw
}

function method(op: string, fields: Field[]): string {
  const type = (f: Field) => (f.kind !== "ptr" ? "number" : f.nullable ? "T | null" : "T")
  const params = fields.map((f) => `${camel(f.name)}: ${type(f)}`)
  return `  ${camel(op)}(${params.join(", ")}): void`
}

function packer(op: string, fields: Field[]): string {
  let word = 0
  const lines: string[] = []
  for (const f of fields) {
    const v = camel(f.name)
    if (f.kind === "ptr") {
      lines.push(`      at = ${f.nullable ? `${v} === null ? 0 : ` : ""}${v}.address`)
      lines.push(`      u32[${word}] = at`)
      lines.push(`      u32[${word + 1}] = at / 4294967296`)
      word += 2
    } else {
      lines.push(`      ${f.kind}[${word}] = ${v}`)
      word++
    }
  }
  const params = fields.map((f) => camel(f.name)).join(", ")
  const open = fields.some((f) => f.kind === "ptr") ? "      let at = 0\n" : ""
  return `    ${camel(op)}(${params}) {\n${open}${lines.join("\n")}\n      check(ds4_${op}(ctx, args), "${camel(op)}")\n    },`
}

/** The text of ffi/ops.gen.ts. */
export function generate(typesHeader: string, opsHeader: string): string {
  const structs = parseStructs(typesHeader)
  const ops = parseOps(opsHeader)
  const argsOf = (op: string) => {
    const s = structs.find((x) => x.name === `ds4_${op}_args`)
    if (!s) throw new Error(`ffi/types.h: no struct ds4_${op}_args`)
    return s.fields
  }
  const version = typesHeader.match(/DS4_ABI_VERSION (\d+)/)?.[1]
  return `// Made by scripts/gen-ffi.ts from ffi/types.h and ffi/ds4.h. Change those, then run it.

export const ABI_VERSION = ${version}

/** Bytes of each struct of types.h, as TypeScript lays it out. */
export const STRUCT_BYTES: Record<string, number> = {
${structs.map((s) => `  ${s.name}: ${structBytes(s.fields)},`).join("\n")}
}

/** Anything that has an address on the backend's device. */
export interface Operand {
  readonly address: number
}

/** What a backend computes: one function per op, operands first, sizes after. Shapes have been
 *  checked by the caller (src/ops/ops.ts, where the formulas stand). */
export interface OpKernels<T extends Operand = Operand> {
${ops.map((op) => method(op, argsOf(op))).join("\n")}
}

export const OP_NAMES = [
${ops.map((op) => `  "${camel(op)}",`).join("\n")}
] as const satisfies readonly (keyof OpKernels)[]

/** Native symbols of the ops, for dlopen: each takes (context, argument struct). */
export const OP_SYMBOLS = {
${ops.map((op) => `  ds4_${op}: { args: ["ptr", "ptr"], returns: "i32" },`).join("\n")}
} as const

type OpSymbols = Record<keyof typeof OP_SYMBOLS, (ctx: never, args: never) => number>

/** Binds a loaded library: every call packs its arguments into \`memory\` (at address \`args\`, large
 *  enough for any struct) and hands the status to \`check\`. */
export function bindOps<T extends Operand>(
  symbols: OpSymbols,
  ctx: never,
  args: never,
  memory: ArrayBuffer,
  check: (status: number, op: string) => void,
): OpKernels<T> {
  const u32 = new Uint32Array(memory)
  const f32 = new Float32Array(memory)
  const {
${ops.map((op) => `    ds4_${op},`).join("\n")}
  } = symbols
  return {
${ops.map((op) => packer(op, argsOf(op))).join("\n")}
  }
}
`
}

export async function currentText(): Promise<string> {
  const read = (p: string) => Bun.file(join(ROOT, p)).text()
  return generate(await read("ffi/types.h"), await read("ffi/ds4.h"))
}

if (import.meta.main) await Bun.write(join(ROOT, "ffi/ops.gen.ts"), await currentText())
