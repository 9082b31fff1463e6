/** Loaded before every test file: says once where the fullest goldens are looked for. */
