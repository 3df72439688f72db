//! What a network has learnt: parameters and running statistics by name.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use crate::random::unit;
use crate::{Layer, NetworkSpec, Result, SpikingError, Streams};

/// Parameters `N.weight`, `N.bias` and buffers `N.running_mean`, `N.running_var`, where N is the layer's index.
#[derive(Debug, Clone)]
pub struct Parameters {
    /// Trainable tensors by name, of the shapes that [`NetworkSpec::parameter_shapes`] gives.
    pub trainable: BTreeMap<String, Tensor>,
    /// Running statistics of batch normalisation by name, `[C]` each.
    pub buffers: BTreeMap<String, Tensor>,
}

impl Parameters {
    /// PyTorch's default initialisation, which is the paper's: weights and biases of convolutions and linear layers
    /// uniform in +-1/sqrt(fan in); batch norm at weight 1, bias 0, running mean 0 and variance 1.
    ///
    /// Each tensor is drawn from its own stream `init/NAME`.
    ///
    /// # Errors
    /// Those of [`NetworkSpec::shapes`], and the device's.
    pub fn initial(spec: &NetworkSpec, streams: &Streams, device: &Device) -> Result<Self> {
        let mut trainable = BTreeMap::new();
        let mut fan_in = 1;
        for (name, shape) in spec.parameter_shapes()? {
            let count: usize = shape.iter().product();
            let is_weight = name.ends_with(".weight");
            let values = if matches!(spec.layers[layer_of(&name)], Layer::BatchNorm) {
                vec![if is_weight { 1.0 } else { 0.0 }; count]
            } else {
                if is_weight {
                    fan_in = shape[1..].iter().product();
                }
                let bound = 1.0 / (fan_in as f32).sqrt();
                let mut stream = streams.stream(&format!("init/{name}"));
                (0..count).map(|_| bound * (2.0 * unit(&mut stream) - 1.0)).collect()
            };
            trainable.insert(name, Tensor::from_vec(values, shape, device)?);
        }
        Ok(Self { trainable, buffers: initial_buffers(spec, DType::F32, device)? })
    }

    /// Takes given parameters, with running statistics as they are before training.
    ///
    /// # Errors
    /// [`SpikingError::Parameter`] for one that is missing, has another shape, or is not the network's.
    pub fn from_tensors(
        spec: &NetworkSpec,
        tensors: BTreeMap<String, Tensor>,
        device: &Device,
    ) -> Result<Self> {
        check(&tensors, spec.parameter_shapes()?)?;
        let dtype = tensors.values().next().map_or(DType::F32, Tensor::dtype);
        Ok(Self { trainable: tensors, buffers: initial_buffers(spec, dtype, device)? })
    }

    /// Takes parameters and running statistics from a training that goes on.
    ///
    /// # Errors
    /// [`SpikingError::Parameter`] for a tensor that is missing, has another shape, or is not the network's.
    pub fn resumed(
        spec: &NetworkSpec,
        trainable: BTreeMap<String, Tensor>,
        buffers: BTreeMap<String, Tensor>,
    ) -> Result<Self> {
        let parameters = Self { trainable, buffers };
        parameters.check(spec)?;
        Ok(parameters)
    }

    /// Refuses parameters and running statistics that are not exactly a network's.
    pub(crate) fn check(&self, spec: &NetworkSpec) -> Result<()> {
        check(&self.trainable, spec.parameter_shapes()?)?;
        check(&self.buffers, buffer_shapes(spec)?)
    }

    /// A parameter or buffer by its name.
    ///
    /// # Errors
    /// [`SpikingError::Parameter`] where there is none.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.trainable.get(name).or_else(|| self.buffers.get(name)).ok_or_else(|| SpikingError::Parameter {
            name: name.to_owned(),
            found: "none".to_owned(),
            expected: "one".to_owned(),
        })
    }

    /// The same on a device.
    ///
    /// # Errors
    /// The device's.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let moved = |tensors: &BTreeMap<String, Tensor>| -> Result<BTreeMap<String, Tensor>> {
            tensors.iter().map(|(name, tensor)| Ok((name.clone(), tensor.to_device(device)?))).collect()
        };
        Ok(Self { trainable: moved(&self.trainable)?, buffers: moved(&self.buffers)? })
    }

    /// The first tensor, in the order of names, that has a value which is infinite or no number.
    ///
    /// # Errors
    /// The device's, where values cannot be read back.
    pub fn not_finite(&self) -> Result<Option<&str>> {
        for (name, tensor) in self.trainable.iter().chain(&self.buffers) {
            if !values(tensor)?.iter().all(|value| value.is_finite()) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// BLAKE3 over names, shapes and little-endian f32 values of all parameters and then all buffers, in the order of
    /// their names.
    ///
    /// # Errors
    /// The device's, where values cannot be read back.
    pub fn hash(&self) -> Result<String> {
        hash_tensors(self.trainable.iter().chain(&self.buffers))
    }
}

/// BLAKE3 over names, shapes and little-endian f32 values of tensors, in the order in which they come.
///
/// # Errors
/// The device's, where values cannot be read back.
pub fn hash_tensors<'a>(tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for (name, tensor) in tensors {
        hasher.update(name.as_bytes());
        hasher.update(format!("{:?}", tensor.dims()).as_bytes());
        for value in values(tensor)? {
            hasher.update(&value.to_le_bytes());
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// The values of a tensor as f32, row-major.
fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// Refuses tensors of other types than those that an engine computes in; `expected` says which they are.
pub(crate) fn check_types<'a>(
    tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>,
    types: &[DType],
    expected: &str,
) -> Result<()> {
    match tensors.into_iter().find(|(_, tensor)| !types.contains(&tensor.dtype())) {
        Some((name, tensor)) => Err(SpikingError::Parameter {
            name: name.clone(),
            found: format!("{:?}", tensor.dtype()),
            expected: expected.to_owned(),
        }),
        None => Ok(()),
    }
}

/// Refuses tensors that are not exactly those of the wanted names and shapes.
pub(crate) fn check(
    tensors: &BTreeMap<String, Tensor>,
    wanted: impl IntoIterator<Item = (String, Vec<usize>)>,
) -> Result<()> {
    let wanted: BTreeMap<_, _> = wanted.into_iter().collect();
    for (name, shape) in &wanted {
        let found = tensors.get(name).map(Tensor::dims);
        if found != Some(shape.as_slice()) {
            return Err(SpikingError::Parameter {
                name: name.clone(),
                found: found.map_or_else(|| "none".to_owned(), |dims| format!("{dims:?}")),
                expected: format!("{shape:?}"),
            });
        }
    }
    match tensors.iter().find(|(name, _)| !wanted.contains_key(*name)) {
        Some((name, tensor)) => Err(SpikingError::Parameter {
            name: name.clone(),
            found: format!("{:?}", tensor.dims()),
            expected: "none".to_owned(),
        }),
        None => Ok(()),
    }
}

fn layer_of(name: &str) -> usize {
    name.split('.').next().and_then(|index| index.parse().ok()).unwrap_or_default()
}

/// Running statistics by name and shape.
fn buffer_shapes(spec: &NetworkSpec) -> Result<Vec<(String, Vec<usize>)>> {
    let shapes = spec.shapes()?;
    let norms = spec.layers.iter().zip(&shapes).enumerate();
    let norms = norms.filter(|(_, (layer, _))| matches!(layer, Layer::BatchNorm));
    let named = norms.flat_map(|(index, (_, shape))| {
        ["mean", "var"].map(|part| (format!("{index}.running_{part}"), vec![shape[0]]))
    });
    Ok(named.collect())
}

fn initial_buffers(spec: &NetworkSpec, dtype: DType, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let initial = |(name, shape): (String, Vec<usize>)| {
        let tensor = match name.ends_with("running_mean") {
            true => Tensor::zeros(shape, dtype, device)?,
            false => Tensor::ones(shape, dtype, device)?,
        };
        Ok((name, tensor))
    };
    buffer_shapes(spec)?.into_iter().map(initial).collect()
}
