/** The only switch between backends. */
import { ensureNativeLibrary, type LibraryOptions } from "../../ffi/build.ts"
import { openLibrary } from "../../ffi/library.ts"
import type { Backend, BackendName } from "./backend.ts"
import { type CpuOptions, openCpu } from "./native.ts"
import { openReference, type ReferenceOptions } from "./reference/index.ts"
import { openTrace } from "./trace.ts"

export type BackendOptions = CpuOptions & ReferenceOptions

/** Builds the native library if need be and loads it. Files are mapped by it, so this comes before
 *  anything is opened. @throws NativeError saying what to do when there is no compiler. */
export async function loadNative(options: LibraryOptions = {}): Promise<void> {
  openLibrary(await ensureNativeLibrary(options))
}

/** Opens a backend by name. @throws NativeError when it is not to be had on this machine. */
export function openBackend(name: BackendName, options: BackendOptions = {}): Backend {
  if (name === "reference") return openReference(options)
  if (name === "trace") return openTrace()
  return openCpu(options)
}
