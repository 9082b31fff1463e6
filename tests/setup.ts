/** Loaded before every test file: the native library maps files, so it comes first. */
import { ensureNativeLibrary } from "../ffi/build.ts"
import { openLibrary } from "../ffi/library.ts"

openLibrary(await ensureNativeLibrary({ onProgress: (line) => console.error(line) }))
