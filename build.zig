//! Native libraries of ds4. The default step builds the CPU library of this machine into
//! zig-out/<os>-<arch>/; `zig build all` builds those of every shipped target.
const std = @import("std");
const builtin = @import("builtin");

comptime {
    const v = builtin.zig_version;
    if (v.major != 0 or v.minor != 16) @compileError("ds4 builds with Zig 0.16, this is " ++ builtin.zig_version_string);
}

const flags = [_][]const u8{ "-std=c11", "-D_GNU_SOURCE", "-O3", "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=off", "-Wall", "-Wextra", "-Wno-psabi" };

/// Compiled once, for the baseline CPU.
const common = [_][]const u8{ "api", "checks", "dispatch", "host", "ops", "threads" };
/// Compiled once per instruction set; DS4_ISA suffixes their symbols and picks simd_<isa>.h.
const families = [_][]const u8{ "attention", "candidates", "compressor", "dequantize", "dot_float", "dot_k", "dot_q8", "dot_tile", "elementwise", "experts", "hyper_connection", "indexer", "kv_rows", "matmul", "norm", "quantize", "rope", "router", "variant" };

/// Zig overrides per-file -m flags by the module's CPU model, so each instruction set is an object
/// with a target of its own. ffi/cpu/dispatch.c must test every feature that is enabled here.
const Variant = struct { name: []const u8, cpu: ?*const std.Target.Cpu.Model = null, add: std.Target.Cpu.Feature.Set = .empty };
const x64_variants = [_]Variant{
    .{ .name = "scalar" },
    .{ .name = "avx2", .cpu = &std.Target.x86.cpu.x86_64_v3 },
    .{ .name = "avx512", .cpu = &std.Target.x86.cpu.x86_64_v4, .add = std.Target.x86.featureSet(&.{ .avx512vbmi, .avx512vnni, .gfni }) },
};
const arm64_variants = [_]Variant{
    .{ .name = "scalar" },
    .{ .name = "neon" },
    .{ .name = "neon_dotprod", .add = std.Target.aarch64.featureSet(&.{.dotprod}) },
    .{ .name = "neon_i8mm", .add = std.Target.aarch64.featureSet(&.{ .dotprod, .i8mm }) },
};

const Ship = struct { dir: []const u8, query: std.Target.Query };
const old_glibc: std.SemanticVersion = .{ .major = 2, .minor = 17, .patch = 0 };
const ship = [_]Ship{
    .{ .dir = "linux-x64", .query = .{ .cpu_arch = .x86_64, .os_tag = .linux, .abi = .gnu, .cpu_model = .baseline, .glibc_version = old_glibc } },
    .{ .dir = "linux-arm64", .query = .{ .cpu_arch = .aarch64, .os_tag = .linux, .abi = .gnu, .cpu_model = .baseline, .glibc_version = old_glibc } },
    .{ .dir = "darwin-arm64", .query = .{ .cpu_arch = .aarch64, .os_tag = .macos, .cpu_model = .{ .explicit = &std.Target.aarch64.cpu.apple_m1 }, .os_version_min = .{ .semver = .{ .major = 13, .minor = 0, .patch = 0 } } } },
};

fn cModule(b: *std.Build, target: std.Build.ResolvedTarget, files: []const []const u8, extra: []const []const u8) *std.Build.Module {
    const m = b.createModule(.{ .target = target, .optimize = .ReleaseFast, .link_libc = true, .strip = true, .pic = true, .sanitize_c = .off });
    m.addIncludePath(b.path("ffi"));
    const all_flags = std.mem.concat(b.allocator, []const u8, &.{ &flags, extra }) catch @panic("OOM");
    for (files) |f| m.addCSourceFile(.{ .file = b.path(b.fmt("ffi/cpu/{s}.c", .{f})), .flags = all_flags });
    return m;
}

fn cpuLibrary(b: *std.Build, target: std.Build.ResolvedTarget) *std.Build.Step.Compile {
    const lib = b.addLibrary(.{ .name = "ds4_cpu", .linkage = .dynamic, .root_module = cModule(b, target, &common, &.{}) });
    const variants: []const Variant = if (target.result.cpu.arch == .x86_64) &x64_variants else &arm64_variants;
    for (variants) |v| {
        var query = target.query;
        if (v.cpu) |model| query.cpu_model = .{ .explicit = model };
        query.cpu_features_add = v.add;
        const define = b.fmt("-DDS4_ISA={s}", .{v.name});
        const object = b.addObject(.{ .name = b.fmt("kernels_{s}", .{v.name}), .root_module = cModule(b, b.resolveTargetQuery(query), &families, &.{define}) });
        lib.root_module.addObject(object);
    }
    return lib;
}

pub fn build(b: *std.Build) void {
    const host = b.graph.host.result;
    const all = b.step("all", "build every shipped target");
    for (ship) |s| {
        const target = b.resolveTargetQuery(s.query);
        const install = b.addInstallArtifact(cpuLibrary(b, target), .{ .dest_dir = .{ .override = .{ .custom = s.dir } } });
        all.dependOn(&install.step);
        if (target.result.os.tag == host.os.tag and target.result.cpu.arch == host.cpu.arch) b.getInstallStep().dependOn(&install.step);
    }
}
