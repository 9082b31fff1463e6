/** The native CPU library: opened once a process, its symbols typed, its idea of the argument structs
 *  compared with ours before the first call. */
import { dlopen, type Pointer, ptr } from "bun:ffi"
import { NativeError } from "../src/errors.ts"
import { ABI_VERSION, OP_SYMBOLS, STRUCT_BYTES } from "./ops.gen.ts"

const SYMBOLS = {
  ...OP_SYMBOLS,
  ds4_open: { args: ["ptr", "u32", "ptr", "ptr"], returns: "i32" },
  ds4_close: { args: ["ptr"], returns: "void" },
  ds4_last_error: { args: ["ptr"], returns: "cstring" },
  ds4_abi_json: { args: ["ptr"], returns: "cstring" },
  ds4_alloc: { args: ["u64"], returns: "ptr" },
  ds4_free: { args: ["ptr", "u64"], returns: "void" },
  ds4_copy: { args: ["ptr", "ptr", "u64"], returns: "void" },
  ds4_map_file: { args: ["ptr", "ptr", "ptr", "u32"], returns: "i32" },
  ds4_unmap: { args: ["ptr", "u64"], returns: "i32" },
  ds4_advise: { args: ["ptr", "u64", "u32"], returns: "i32" },
} as const

type Library = ReturnType<typeof load>

/** The functions of ffi/ds4.h. */
export type NativeSymbols = Library["symbols"]

function load(path: string) {
  try {
    return dlopen(path, SYMBOLS)
  } catch (e) {
    throw new NativeError(`Cannot load the native library: ${(e as Error).message}`)
  }
}

let loaded: { path: string; library: Library } | undefined

/** Loads the library (again: returns it) and compares its ABI. @throws NativeError */
export function openLibrary(path: string): NativeSymbols {
  if (loaded && loaded.path !== path)
    throw new NativeError(`Cannot load ${path}: ${loaded.path} is loaded already`)
  if (!loaded) {
    const library = load(path)
    compareAbi(path, library.symbols)
    loaded = { path, library }
  }
  return loaded.library.symbols
}

/** The loaded library. @throws NativeError before openLibrary */
export function native(): NativeSymbols {
  if (!loaded) throw new NativeError("The native library is not loaded")
  return loaded.library.symbols
}

/** What a context says of itself. */
export interface NativeAbi {
  abi: number
  structs: Record<string, number>
  /** Instruction sets of this machine, worst first, and the one in use. */
  isas: string[]
  isa: string
  threads: number
}

/** A context's answer, as numbers. */
export function abiOf(k: NativeSymbols, ctx: Pointer): NativeAbi {
  return JSON.parse(String(k.ds4_abi_json(ctx)))
}

export interface NativeOptions {
  /** Threads, the caller's included; 0 or absent: one per physical core. */
  threads?: number | undefined
  /** Instruction set by name; absent: the best of this machine. */
  isa?: string | undefined
  /** The IQ2_XXS grid, [256, 8] u8; absent: no IQ2_XXS kernels. */
  grid?: Uint8Array | undefined
}

/** A new context. @throws NativeError if the instruction set is not here or threads do not start */
export function openContext(k: NativeSymbols, options: NativeOptions = {}): Pointer {
  const out = new BigUint64Array(1)
  const isa = options.isa ? Buffer.from(`${options.isa}\0`) : null
  const status = k.ds4_open(ptr(out), options.threads ?? 0, isa, options.grid ?? null)
  checkStatus(k, status, null)
  return Number(out[0]) as Pointer
}

/** Throws what the library says of a failure. */
export function checkStatus(k: NativeSymbols, status: number, ctx: Pointer | null): void {
  if (status !== 0) throw new NativeError(String(k.ds4_last_error(ctx)))
}

function compareAbi(path: string, k: NativeSymbols): void {
  const ctx = openContext(k, { threads: 1 })
  const { abi, structs } = abiOf(k, ctx)
  k.ds4_close(ctx)
  const other = Object.keys(STRUCT_BYTES).find((name) => structs[name] !== STRUCT_BYTES[name])
  if (abi !== ABI_VERSION)
    throw new NativeError(`Cannot use ${path}: its ABI is ${abi}, expected ${ABI_VERSION}`)
  if (other)
    throw new NativeError(
      `Cannot use ${path}: ${other} has ${structs[other]} bytes, expected ${STRUCT_BYTES[other]}`,
    )
}
