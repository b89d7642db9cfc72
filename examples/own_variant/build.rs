fn main() {
    rla_build::kernels();
}
