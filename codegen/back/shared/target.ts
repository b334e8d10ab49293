/** What a target is to the back end: how its text is generated, and what compiles it. */

/** A generated file. */
export interface GeneratedFile {
  /** below templates/ */
  readonly template: string;
  /** its name */
  readonly source: string;
}

/** A target's generated text: the policy's file. */
export interface TargetText extends GeneratedFile {
  /** files that are the same for many policies, and compiled once for them */
  readonly common: readonly GeneratedFile[];
  /** in its first line */
  readonly title: string;
}

/** What a caller may ask of a compiler; each target reads its own. */
export interface CompileOptions {
  /** cpu: instruction set for -march; default SKV_MARCH or native */
  march?: string;
  /** cuda: folder of the toolkit; default as findCuda says */
  cudaPath?: string;
  /** cuda: compute capabilities such as [80, 90]; default the devices here, else those two and PTX */
  archs?: readonly number[];
}

export interface Compiler {
  /** everything beside the sources that can change the library; part of the content hash */
  fingerprint: string;
  /** Does in an empty folder what needs no sources, where something does. What fails, `compile` does again, and tells. */
  prepare?(folder: string): Promise<void>;
  /** Compiles what render wrote into `folder`; policyFile is named in errors. Returns the library's path. */
  compile(folder: string, policyFile: string): Promise<string>;
}

export interface TargetBack {
  readonly text: TargetText;
  /** Source files in a folder → policy.so beside them. */
  compiler(options: CompileOptions): Compiler;
}
