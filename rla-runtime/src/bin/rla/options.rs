//! Options that several subcommands share, and how their values are written.
use clap::ValueEnum;
#[cfg(feature = "models")]
use rla_runtime::model::Place;
use rla_runtime::{Backend, DType, Error, Mode, Products, StateLayout};

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendOption {
    /// The definition in f64, token by token
    Oracle,
    /// The compiled tile program, interpreted in f64
    Tile,
    /// The generated token-by-token kernel
    Recurrent,
    /// The generated chunk-parallel kernel
    Cpu,
    /// The generated kernels on the first NVIDIA GPU
    Cuda,
}

impl BackendOption {
    /// The backend.
    pub fn backend(self) -> Result<Backend, Error> {
        Ok(match self {
            BackendOption::Oracle => Backend::Oracle,
            BackendOption::Tile => Backend::Tile,
            BackendOption::Recurrent => Backend::Recurrent,
            BackendOption::Cpu => Backend::Cpu,
            BackendOption::Cuda => Backend::Cuda,
        })
    }
}

/// Where a model lives.
#[cfg(feature = "models")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeviceOption {
    /// The CPU
    Cpu,
    /// The first NVIDIA GPU, in a program built with the feature `cuda-models`
    Cuda,
}

#[cfg(feature = "models")]
impl DeviceOption {
    /// The place; on the CPU `backend` runs the recurrences.
    pub fn place(self, backend: BackendOption) -> Result<Place, Error> {
        match self {
            DeviceOption::Cpu => Ok(Place::from(backend.backend()?)),
            DeviceOption::Cuda => Place::cuda(),
        }
    }
}

/// Element types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DTypeOption {
    /// 64-bit float (oracle and tile)
    F64,
    /// 32-bit float
    F32,
    /// bfloat16
    Bf16,
    /// IEEE half precision
    F16,
}

impl From<DTypeOption> for DType {
    fn from(option: DTypeOption) -> DType {
        match option {
            DTypeOption::F64 => DType::F64,
            DTypeOption::F32 => DType::F32,
            DTypeOption::Bf16 => DType::Bf16,
            DTypeOption::F16 => DType::F16,
        }
    }
}

/// Type of products with 16-bit inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProductsOption {
    /// In the inputs' own type
    Input,
    /// In f32
    F32,
}

impl From<ProductsOption> for Products {
    fn from(option: ProductsOption) -> Products {
        match option {
            ProductsOption::Input => Products::Input,
            ProductsOption::F32 => Products::F32,
        }
    }
}

/// What products may be computed in; permission makes sense with 16-bit inputs on the CPU alone.
pub fn products(option: ProductsOption, backend: Backend, dtype: DType) -> Result<Products, Error> {
    let products = option.into();
    if products == Products::Input && (!dtype.is_half() || backend != Backend::Cpu) {
        return Err(Error::argument("--products", "f32, or bf16 or f16 inputs with --backend cpu", "input"));
    }
    Ok(products)
}

/// What the configuration of a call may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModeOption {
    /// On variant, types, K, V, H, HV and device alone: all laws hold bit for bit
    Invariant,
    /// On B, N and T too, by rows of tables for buckets of them
    Throughput,
}

impl From<ModeOption> for Mode {
    fn from(option: ModeOption) -> Mode {
        match option {
            ModeOption::Invariant => Mode::Invariant,
            ModeOption::Throughput => Mode::Throughput,
        }
    }
}

/// The mode of all operations of this process, where one is named.
pub fn mode(option: Option<ModeOption>) -> Result<(), Error> {
    option.map_or(Ok(()), |option| rla_runtime::op::set_mode(option.into()))
}

/// Layout of states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LayoutOption {
    /// Value-major: N, HV, V, K
    Vk,
    /// Key-major: N, HV, K, V
    Kv,
}

impl From<LayoutOption> for StateLayout {
    fn from(option: LayoutOption) -> StateLayout {
        match option {
            LayoutOption::Vk => StateLayout::ValueMajor,
            LayoutOption::Kv => StateLayout::KeyMajor,
        }
    }
}

/// Sets the number of threads of all parallel work; `None`: one a core.
///
/// The dense products read it from the environment, and only there; so the program starts itself again with it. Their
/// library's second pool, for elementwise work, is left at one thread: while it waits it spins on a core that the
/// products' and the kernels' pool needs (a training step took 1.6 times the processor time with it).
#[cfg(feature = "models")]
pub fn threads(count: Option<usize>) -> Result<(), Error> {
    if count == Some(0) {
        return Err(Error::argument("--threads", "at least 1", "0"));
    }
    let set = |name: &str| std::env::var(name).ok();
    // the products' library would count the cores of the machine, not those this process may use
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get).to_string();
    let pool = count.map(|n| n.to_string()).or_else(|| set("RAYON_NUM_THREADS")).unwrap_or_else(cores);
    let wanted = [("RAYON_NUM_THREADS", pool), ("CANDLE_NUM_THREADS", "1".to_string())];
    let missing: Vec<_> = wanted.into_iter().filter(|(name, value)| set(name).as_ref() != Some(value)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let failed = |e: std::io::Error| Error::unsupported("--threads", e.to_string());
    let mut again = std::process::Command::new(std::env::current_exe().map_err(failed)?);
    again.args(std::env::args_os().skip(1)).envs(missing);
    #[cfg(unix)]
    return Err(failed(std::os::unix::process::CommandExt::exec(&mut again)));
    #[cfg(not(unix))]
    std::process::exit(again.status().map_err(failed)?.code().unwrap_or(9));
}

/// `name=value`, a constant.
pub fn constant(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let value: f64 = value.trim().parse().map_err(|_| format!("`{value}` is not a number"))?;
    if !value.is_finite() {
        return Err(format!("`{value}` is not finite"));
    }
    Ok((name.trim().to_string(), value))
}

/// `name=size`, a dimension.
pub fn dim(text: &str) -> Result<(String, usize), String> {
    let (name, size) = text.split_once('=').ok_or("expected NAME=SIZE")?;
    let size = size.trim().parse().ok().filter(|&size| size > 0).ok_or_else(|| format!("`{size}` is not a size"))?;
    Ok((name.trim().to_string(), size))
}

/// B, T, H, HV, K, V.
pub fn shape(text: &str) -> Result<[usize; 6], String> {
    let numbers: Result<Vec<usize>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    numbers.ok().and_then(|n| n.try_into().ok()).ok_or_else(|| "expected six numbers, B,T,H,HV,K,V".into())
}
